import type { MilepostChecklist } from "../widget/element.js";

interface Session {
  userId: string;
  orgId: string;
  token: string;
  roles: string[];
}

/** What can be done in the pretend application: the signal, what the button says, and the page where it is done. */
const DEEDS = [
  { type: "profile.completed", label: "Complete the profile", route: "/me" },
  { type: "tour.planned", label: "Plan a tour", route: "/tours/new" },
  { type: "tour.shared", label: "Share arrival times", route: "/tours/sharing" },
  { type: "notifications.chosen", label: "Choose notifications", route: "/me/notifications" },
  { type: "driving-hours.viewed", label: "View driving hours", route: "/fleet/hours" },
  { type: "service.scheduled", label: "Schedule a service", route: "/fleet/service" },
  { type: "driver-app.signed-in", label: "Sign in to the driver app", route: "/drivers/app" },
  { type: "billing.address-added", label: "Add the billing address", route: "/billing/address" },
  { type: "ledger.connected", label: "Connect the ledger", route: "/billing/ledger" },
];
const ROLES = {
  dispatcher: "Dispatcher",
  "fleet-manager": "Fleet manager",
  "lead-driver": "Lead driver",
  accountant: "Accountant",
};

const part = <T extends HTMLElement = HTMLElement>(id: string) => document.getElementById(id) as T;

let user = new URLSearchParams(location.search).get("user") ?? "leila";

/** Ask the service what only the demo may; answers what it says, or tells why not. */
async function ask<T>(path: string, body: object): Promise<T> {
  const answer = await fetch(`/demo/${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ user, ...body }),
  });
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.detail);
  return content;
}

const open = () => ask<Session>("session", {});

async function attempt(work: () => Promise<string>): Promise<void> {
  part("said").textContent = await work().catch((error: Error) => error.message);
  // The stream of events would tell in a moment; where a proxy holds it up, this is at once all the same.
  document.querySelector("milepost-checklist")?.refresh();
}

async function report(type: string): Promise<void> {
  await attempt(async () => {
    const { completedSteps } = await ask<{ completedSteps: number }>("signals", { type });
    return `${type} was reported. Steps it completed: ${completedSteps}.`;
  });
}

function held(): string[] {
  return [...part("roles").querySelectorAll<HTMLInputElement>(":checked")].map((one) => one.value);
}

function showRoles(roles: string[]): void {
  for (const one of part("roles").querySelectorAll("input")) one.checked = roles.includes(one.value);
  const named = Object.entries(ROLES).filter(([role]) => roles.includes(role));
  part("roles-held").textContent = named.map(([, title]) => title).join(", ") || "no role";
}

function lay(): void {
  for (const { type, label } of DEEDS) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.title = type;
    button.addEventListener("click", () => void report(type));
    part("signals").append(button);
  }
  for (const [role, title] of Object.entries(ROLES)) {
    const label = document.createElement("label");
    label.className = "chip";
    const box = document.createElement("input");
    box.type = "checkbox";
    box.value = role;
    box.addEventListener("change", () => {
      const roles = held();
      void attempt(async () => {
        await ask("roles", { roles });
        showRoles(roles);
        return "The roles were changed.";
      });
    });
    label.append(box, title);
    part("roles").append(label);
  }
}

/** The pretend application's router: a call to action of the checklist leads here. */
function visit(route: string, title: string): void {
  const deed = DEEDS.find((one) => one.route === route);
  part("page-route").textContent = route;
  part("page-title").textContent = title;
  part("page-text").textContent = deed
    ? "Here would be your own page. Whoever does what it is for is reported, and the step is checked off."
    : "Here would be your own page. Nothing is reported from it: the user marks the step as done.";
  const button = part<HTMLButtonElement>("page-do");
  button.hidden = !deed;
  button.textContent = deed?.label ?? "";
  button.onclick = () => void (deed && report(deed.type));
}

async function begin(): Promise<void> {
  const session = await open();
  showRoles(session.roles);
  let first: Session | undefined = session;
  const widget = document.createElement("milepost-checklist") as MilepostChecklist;
  widget.baseUrl = location.origin;
  widget.userId = session.userId;
  widget.orgId = session.orgId;
  widget.getToken = async () => {
    const { token } = first ?? (await open());
    first = undefined;
    return token;
  };
  widget.addEventListener("milepost:navigate", (event) => {
    event.preventDefault();
    const { route, step } = (event as CustomEvent).detail;
    visit(route, step.title);
  });
  const looks = () => {
    widget.lang = part<HTMLSelectElement>("language").value;
    widget.mode = part<HTMLSelectElement>("mode").value;
    widget.theme = part<HTMLSelectElement>("theme").value;
    document.documentElement.dataset.theme = widget.theme;
  };
  for (const id of ["language", "mode", "theme"]) part(id).addEventListener("change", looks);
  looks();
  part("side").replaceChildren(widget);
}

part("lines").textContent =
  `<script type="module" src="${location.origin}/widget/milepost-checklist.js"></script>
<milepost-checklist base-url="${location.origin}" user-id="leila" org-id="tarnwick" token="…"></milepost-checklist>`;
part("copy").addEventListener(
  "click",
  () => void navigator.clipboard.writeText(part("lines").textContent ?? ""),
);
part("restart").addEventListener("click", () => {
  const random = [...crypto.getRandomValues(new Uint8Array(4))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
  location.search = `?user=leila-${random}`;
});
if (!/^leila(-[0-9a-f]{8})?$/.test(user)) user = "leila";
part<HTMLAnchorElement>("second").href = `/demo?user=${user}`;
lay();
void attempt(() => begin().then(() => ""));
