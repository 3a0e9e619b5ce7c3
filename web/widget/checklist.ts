import {
  createClient,
  type GuidedChecklist,
  type MilepostClient,
  type Problem,
  type Status,
  type Step,
  type UserProperties,
} from "@milepost/client";
import { Live } from "./live.js";
import { backoff, isDone, nextOnTheWay, type Rule } from "./moves.js";

/** What the user wants: a step in another status, or the checklist put away or brought back. */
export type Wish = { stepId: string; to: Status } | { dismissed: boolean };

/** Why a wish was not granted: what the server said, or `changed` where the step had moved on by itself. */
export interface Refusal {
  stepId: string | undefined;
  name: string;
  detail: string;
}

export interface Place {
  baseUrl: string;
  userId: string;
  orgId: string;
  token: () => string | Promise<string>;
  language: () => string;
}

export type Phase = "loading" | "ready" | "empty" | "failed";

const API = "/api/usermanagement/v1/users/{userId}/properties";
const CHECKLIST = `${API}/guided-checklist` as const;

/** The checklist as the server has it and as the user wants it: what was asked for is shown at once, and sent in order. */
export class Checklist {
  phase: Phase = "loading";
  failure: Pick<Problem, "detail" | "status"> | undefined;
  refusal: Refusal | undefined;
  /** There is no way to the server now; what is shown may be old. */
  cut = false;
  language = "";
  rules = new Map<string, Rule>();

  readonly #client: MilepostClient;
  readonly #live: Live;
  readonly #others: BroadcastChannel;
  #record: UserProperties | undefined;
  #tag = "";
  #ruledBy = "";
  #wishes: Wish[] = [];
  #failures = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #looking = false;
  #ended = false;

  constructor(
    private readonly place: Place,
    private readonly changed: () => void,
    private readonly needsRules: () => boolean,
  ) {
    const { baseUrl, userId, orgId } = place;
    this.#client = createClient({ baseUrl, token: place.token, language: place.language });
    this.#live = new Live(
      (lastId, signal) => this.#stream(lastId, signal),
      () => this.look(),
    );
    this.#others = new BroadcastChannel(`milepost:${baseUrl} ${userId} ${orgId}`);
    this.#others.onmessage = () => this.look();
  }

  start(): void {
    this.#live.start();
    this.look();
  }

  end(): void {
    this.#ended = true;
    clearTimeout(this.#retry);
    this.#live.end();
    this.#others.close();
  }

  /** The checklist as it will be once everything asked for is granted. */
  get shown(): GuidedChecklist | undefined {
    const checklist = this.#record?.guidedChecklist;
    if (!checklist) return undefined;
    const shown = { ...checklist, steps: [...(checklist.steps ?? [])] };
    for (const wish of this.#wishes) {
      if ("stepId" in wish) {
        shown.steps = shown.steps.map((one) =>
          one.stepId === wish.stepId ? { ...one, status: wish.to } : one,
        );
      } else if (wish.dismissed) shown.dismissedAt ??= new Date().toISOString();
      else delete shown.dismissedAt;
    }
    shown.steps.sort((a, b) => a.sortOrder - b.sortOrder);
    return shown;
  }

  get complete(): boolean {
    const steps = this.shown?.steps ?? [];
    return steps.length > 0 && steps.every(isDone);
  }

  /** Ask for a change: it is shown at once, and taken back where the server refuses. */
  wish(wish: Wish): void {
    const isSame = (one: Wish) =>
      "stepId" in one ? "stepId" in wish && one.stepId === wish.stepId : !("stepId" in wish);
    // The first one may be on its way; of the others only the last about the same thing counts.
    this.#wishes = [...this.#wishes.filter((one, n) => n === 0 || !isSame(one)), wish];
    this.refusal = undefined;
    this.changed();
    void this.#inTurn(() => this.#grant());
  }

  /** Look whether the server has something new. */
  look(): void {
    if (this.#looking) return;
    this.#looking = true;
    void this.#inTurn(async () => {
      this.#looking = false;
      if ((await this.#load()) && this.#wishes.length > 0) await this.#grant();
    });
  }

  /** Try at once what waits for a better moment. */
  again(): void {
    clearTimeout(this.#retry);
    this.#failures = 0;
    this.look();
    this.#live.wake();
  }

  /** The browser says that there is no network. */
  lost(): void {
    this.cut = true;
    this.changed();
  }

  /** Ask what the catalog says of the steps, where that is needed and not known. */
  async learn(): Promise<void> {
    if (!this.needsRules() || this.#ruledBy === this.#tag || !this.#tag) return;
    this.#ruledBy = this.#tag;
    const { data } = await this.#client
      .call("get", `${CHECKLIST}/explain`, this.#address())
      .catch(() => ({ data: undefined }));
    if (!data || this.#ended) return;
    this.rules = new Map(data.steps.map((one) => [one.stepId, one]));
    this.changed();
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T | undefined> {
    // One request at a time, so that an older answer never overwrites a newer one.
    const done = this.#turn.then(() => (this.#ended ? undefined : work()));
    this.#turn = done.catch(() => undefined);
    return done;
  }

  #address() {
    const { userId, orgId } = this.place;
    return { path: { userId }, query: { orgId } };
  }

  #stream(lastId: string, signal: AbortSignal): Promise<Response> {
    const { baseUrl, userId, orgId } = this.place;
    const url = `${baseUrl}${API.replace("{userId}", encodeURIComponent(userId))}/events?orgId=${encodeURIComponent(orgId)}`;
    const headers = { Accept: "text/event-stream", ...(lastId && { "Last-Event-ID": lastId }) };
    return this.#client.send(new Request(url, { headers, signal, cache: "no-store" }));
  }

  /** Read the record; answers whether the server could be asked. */
  async #load(): Promise<boolean> {
    const headers: Record<string, string> = this.#tag ? { "If-None-Match": this.#tag } : {};
    const answer = await this.#reached(() =>
      this.#client.call("get", API, { ...this.#address(), headers, init: { cache: "no-store" } }),
    );
    if (!answer) return false;
    const { response, error } = answer;
    if (answer.data) this.#take(answer.data, response);
    else if (response.status === 304) this.#settle();
    else this.#fail(error, response.status);
    this.changed();
    return response.ok || response.status === 304;
  }

  /** Carry out what is asked for, in its order, until all is done or the server cannot be reached. */
  async #grant(): Promise<void> {
    for (let wish = this.#wishes[0]; wish; wish = this.#wishes[0]) {
      const granted = await this.#carryOut(wish);
      if (this.#ended || granted === undefined) return;
      this.#wishes = this.#wishes.slice(1);
      this.changed();
      this.#others.postMessage("changed");
    }
  }

  /** Carry out one wish; undefined where the server cannot be reached, and nobody knows whether it was done. */
  async #carryOut(wish: Wish): Promise<boolean | undefined> {
    for (let tries = 0; tries < 6; tries++) {
      const status = this.#status(wish);
      if (status === "there") return true;
      if (status === "astray") return this.#refuse(wish, { name: "changed", detail: "" });
      const answer = await this.#reached(() => this.#send(wish, status));
      if (!answer) return undefined;
      const { data, error, response } = answer;
      if (data) this.#take(data, response);
      else if (response.status === 412) {
        if (!(await this.#load())) return undefined;
      } else return this.#refuse(wish, error ?? { name: "", detail: response.statusText });
    }
    return this.#refuse(wish, { name: "changed", detail: "" });
  }

  /** What has to be sent next for a wish: a status, or that there is nothing to do or no way to do it. */
  #status(wish: Wish): Status | "there" | "astray" | undefined {
    const checklist = this.#record?.guidedChecklist;
    if (!("stepId" in wish)) return !!checklist?.dismissedAt === wish.dismissed ? "there" : undefined;
    const step = checklist?.steps?.find((one: Step) => one.stepId === wish.stepId);
    if (!step) return "astray";
    if (step.status === wish.to) return "there";
    return nextOnTheWay(step.status, wish.to) ?? "astray";
  }

  #send(wish: Wish, status: Status | undefined) {
    const address = this.#address();
    // A call to action may lead to another page, which must not undo that the step was started.
    const guarded = { ...address, headers: { "If-Match": this.#tag }, init: { keepalive: true } };
    if ("stepId" in wish && status) {
      const path = { ...address.path, stepId: wish.stepId };
      return this.#client.call("patch", `${CHECKLIST}/steps/{stepId}`, {
        ...guarded,
        path,
        body: { status },
      });
    }
    const verb = "dismissed" in wish && wish.dismissed ? "dismiss" : "restore";
    return this.#client.call("post", `${CHECKLIST}/${verb}`, guarded);
  }

  #refuse(wish: Wish, problem: Pick<Problem, "name" | "detail">): false {
    this.refusal = {
      stepId: "stepId" in wish ? wish.stepId : undefined,
      name: problem.name,
      detail: problem.detail,
    };
    return false;
  }

  #take(record: UserProperties, response: Response): void {
    this.#record = record;
    this.#tag = response.headers.get("ETag") ?? "";
    this.language = response.headers.get("Content-Language") ?? "";
    this.#settle();
  }

  #settle(): void {
    this.failure = undefined;
    this.phase = this.#record?.guidedChecklist ? "ready" : "empty";
  }

  #fail(problem: Problem | undefined, status: number): void {
    if (status === 404) {
      this.#record = undefined;
      this.#tag = "";
      this.phase = "empty";
      return;
    }
    this.failure = { detail: problem?.detail ?? "", status };
    this.phase = "failed";
  }

  /** An answer that says something; undefined, and tried again later, where there is none or the server is not well. */
  async #reached<T extends { response: Response }>(call: () => Promise<T>): Promise<T | undefined> {
    const answer = await call().catch(() => undefined);
    if (this.#ended) return undefined;
    const status = answer?.response.status ?? 0;
    if (answer && status < 500 && status !== 429) {
      this.cut = false;
      this.#failures = 0;
      return answer;
    }
    this.cut = true;
    this.changed();
    const asked = Number(answer?.response.headers.get("Retry-After")) * 1000;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(
      () => this.look(),
      Math.max(asked || 0, backoff(this.#failures++, Math.random())),
    );
    return undefined;
  }
}
