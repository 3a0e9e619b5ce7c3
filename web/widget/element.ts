import type { Step } from "@milepost/client";
import { html, nothing, type TemplateResult } from "lit/html.js";
import { DrawnElement, TEXTS } from "./base.js";
import { type CardView, card, counts } from "./card.js";
import { Checklist, type Refusal, type Wish } from "./checklist.js";
import { ring } from "./icons.js";
import { isDone } from "./moves.js";
import { directionOf, ENGLISH, filled, type Strings, spoken, stringsIn } from "./strings.js";
import { styles } from "./styles.js";

/** What says where the checklist is and who asks; a change begins anew. */
const SOURCE: string[] = [TEXTS.baseUrl, TEXTS.userId, TEXTS.orgId, TEXTS.token];

/**
 * The guided checklist of a user, kept up to date. What it takes and tells is described in docs/widget.md.
 *
 * @fires milepost:navigate - a call to action was followed; cancel it to navigate by yourself
 * @fires milepost:change - the status of steps changed, by whatever
 * @fires milepost:complete - the last step was done
 * @fires milepost:refused - the server refused a change
 */
export class MilepostChecklist extends DrawnElement {
  #getToken: (() => string | Promise<string>) | undefined;
  #list: Checklist | undefined;
  #strings: Strings = ENGLISH;
  #spoken = "en";
  #unfolded: string | undefined;
  #celebrating = false;
  #reviewing = false;
  #announcement = "";
  #seen = new Map<string, Step["status"]>();
  #wasComplete: boolean | undefined;
  #told: Refusal | undefined;
  #beginning = false;
  #listening = new AbortController();

  constructor() {
    super();
    this.adopt([...Object.keys(TEXTS), "open", "collapsed", "getToken"], styles);
  }

  /** Answers a token; asked again before the token expires, and after the server refused it. */
  get getToken(): (() => string | Promise<string>) | undefined {
    return this.#getToken;
  }
  set getToken(get: (() => string | Promise<string>) | undefined) {
    this.#getToken = get;
    this.#begin();
  }

  connectedCallback(): void {
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    window.addEventListener("online", () => this.#list?.again(), { signal });
    window.addEventListener("offline", () => this.#list?.lost(), { signal });
    this.addEventListener("keydown", (event) => event.key === "Escape" && this.open && this.#close(), {
      signal,
    });
    this.#begin();
  }

  disconnectedCallback(): void {
    this.#listening.abort();
    this.#list?.end();
    this.#list = undefined;
  }

  attributeChangedCallback(name: string, before: string | null, now: string | null): void {
    if (before === now) return;
    if (SOURCE.includes(name)) this.#begin();
    else if (name === "lang") this.#list?.look();
    void this.redraw();
  }

  /** Look for changes now, without waiting. */
  refresh(): void {
    this.#list?.look();
  }

  /** Begin with what the page has set, once it has set all that it sets now. */
  #begin(): void {
    if (this.#beginning || !this.isConnected) return;
    this.#beginning = true;
    queueMicrotask(() => {
      this.#beginning = false;
      this.#list?.end();
      this.#list = undefined;
      this.#seen.clear();
      this.#wasComplete = this.#unfolded = undefined;
      void this.redraw();
      const { baseUrl, userId, orgId } = this;
      if (!(this.isConnected && baseUrl && userId && orgId && (this.token || this.#getToken))) return;
      const place = {
        baseUrl: new URL(baseUrl, document.baseURI).href
          .replace(/\/+$/, "")
          .replace(/\/api\/usermanagement\/v1$/, ""),
        userId,
        orgId,
        token: () => this.#getToken?.() ?? this.token,
        language: () => this.#language,
      };
      this.#list = new Checklist(
        place,
        () => this.#notice(),
        () => (this.mode === "launcher" ? this.open : !this.collapsed),
      );
      this.#list.start();
    });
  }

  /** The language asked for: the element's own, else that of the page around it, else the browser's. */
  get #language(): string {
    return this.closest<HTMLElement>("[lang]")?.lang || navigator.language;
  }

  /** Something about the checklist changed: say what, and show it. */
  #notice(): void {
    const list = this.#list;
    if (!list) return;
    const steps = list.shown?.steps ?? [];
    if (list.phase === "ready") {
      const moved = steps.filter((one) => this.#seen.size && this.#seen.get(one.stepId) !== one.status);
      this.#seen = new Map(steps.map((one) => [one.stepId, one.status]));
      this.#unfolded ??= steps.find((one) => !isDone(one))?.stepId;
      if (moved.length) this.#tell(moved, steps);
      if (this.#wasComplete === false && list.complete) {
        this.#celebrating = true;
        this.#fire("milepost:complete", {});
      }
      this.#wasComplete = list.complete;
      if (!list.complete) this.#celebrating = this.#reviewing = false;
    }
    if (list.refusal !== this.#told) {
      this.#told = list.refusal;
      if (list.refusal) {
        // What was taken back folded up when it was asked for.
        this.#unfolded = list.refusal.stepId ?? this.#unfolded;
        this.#fire("milepost:refused", { ...list.refusal });
      }
    }
    void this.redraw();
  }

  #tell(moved: readonly Step[], steps: readonly Step[]): void {
    const said = moved.map((one) => `${one.title}: ${this.#strings[one.status]}.`);
    this.#announcement = `${said.join(" ")} ${filled(this.#strings.progress, counts(steps))}`;
    this.#fire("milepost:change", { steps: moved });
    // What is done folds up, and the next one opens.
    const current = moved.find((one) => one.stepId === this.#unfolded);
    if (!current || !isDone(current)) return;
    const next = steps.find((one) => !isDone(one))?.stepId;
    this.#unfolded = next ?? current.stepId;
    // The button that was pressed is gone: the focus goes on to the next step, or to what came in its place.
    const focused = this.focused?.closest<HTMLElement>("[data-step]")?.dataset.step;
    if (focused === current.stepId) this.focusOn(next ? rowOf(next) : ".complete .button");
  }

  #fire(name: string, detail: object, cancelable = false): boolean {
    return this.dispatchEvent(new CustomEvent(name, { detail, cancelable, bubbles: true, composed: true }));
  }

  #follow(event: MouseEvent, step: Step): void {
    if (step.status === "UP_NEXT") this.#list?.wish({ stepId: step.stepId, to: "IN_PROGRESS" });
    if (!this.#fire("milepost:navigate", { route: step.ctaRoute, step }, true)) event.preventDefault();
  }

  #unfold(stepId: string): void {
    const isRow = this.focused?.matches(rowOf(stepId));
    this.#unfolded = isRow && this.#unfolded === stepId ? "" : stepId;
    if (isRow) void this.redraw();
    else this.focusOn(rowOf(stepId));
  }

  #close(): void {
    this.open = false;
    this.focusOn(".launcher");
  }

  #setDismissed(dismissed: boolean): void {
    this.#list?.wish({ dismissed });
    this.open = !dismissed && this.mode === "launcher";
    this.focusOn(dismissed ? ".restore, .launcher" : ".row, .button");
  }

  override draw(): TemplateResult {
    void this.#list?.learn();
    this.#speak();
    const direction = this.dir || (this.closest("[lang]") ? directionOf(this.#spoken) : nothing);
    return html`<div class="root" part="root" lang=${this.#spoken} dir=${direction}>
      ${this.mode === "launcher" ? this.#launcher() : this.#inline()}
      <div class="sr" role="status">${this.#announcement}</div>
    </div>`;
  }

  /** See that the widget's own strings are in the language asked for. */
  #speak(): void {
    const wanted = spoken(this.#language);
    if (wanted === this.#spoken) return;
    this.#spoken = wanted;
    void stringsIn(wanted).then((strings) => {
      if (this.#spoken !== wanted) return;
      this.#strings = strings;
      void this.redraw();
    });
  }

  #inline(): TemplateResult {
    const strings = this.#strings;
    if (this.#list?.shown?.dismissedAt) {
      return html`<button part="restore" type="button" class="restore" @click=${() => this.#setDismissed(false)}>
        ${this.#ring()}${strings.restore}
      </button>`;
    }
    return html`<section aria-label=${this.heading || strings.title}>${this.#card(false)}</section>`;
  }

  #launcher(): TemplateResult | typeof nothing {
    const list = this.#list;
    if (!list || list.phase === "loading" || list.phase === "empty") return nothing;
    const strings = this.#strings;
    const title = this.heading || strings.title;
    const dismissed = !!list.shown?.dismissedAt;
    const open = this.open && !dismissed;
    const left = (list.shown?.steps ?? []).filter((one) => !isDone(one)).length;
    const press = () => {
      if (dismissed) this.#setDismissed(false);
      else if (open) this.#close();
      else {
        this.open = true;
        this.focusOn(".panel-over");
      }
    };
    return html`<div class="over">
      ${open ? html`<div class="panel-over" part="panel" role="dialog" aria-label=${title} tabindex="-1">${this.#card(true)}</div>` : nothing}
      <button
        part="launcher"
        type="button"
        class=${dismissed ? "launcher small" : "launcher"}
        aria-expanded=${open}
        aria-label=${dismissed ? strings.restore : nothing}
        @click=${press}
      >
        ${this.#ring()}${dismissed ? nothing : html`<span>${title}</span>${left ? html`<span class="left" aria-hidden="true">${left}</span>` : nothing}`}
      </button>
    </div>`;
  }

  #ring(): TemplateResult {
    const { done, all } = counts(this.#list?.shown?.steps ?? []);
    return ring(all ? done / all : 0);
  }

  #card(floating: boolean): TemplateResult {
    const list = this.#list;
    const view: CardView = {
      list,
      steps: list?.shown?.steps ?? [],
      rules: list?.rules ?? new Map(),
      strings: this.#strings,
      language: this.#spoken,
      textLanguage: list?.language ?? "",
      unfolded: this.#unfolded,
      refusal: list?.refusal,
      heading: this.heading,
      folded: !floating && this.collapsed,
      floating,
      celebrating: this.#celebrating,
      reviewing: this.#reviewing,
      unfold: (stepId) => this.#unfold(stepId),
      wish: (wish: Wish) => list?.wish(wish),
      follow: (event, step) => this.#follow(event, step),
      fold: () => {
        this.collapsed = !this.collapsed;
      },
      close: () => this.#close(),
      review: () => {
        this.#reviewing = true;
        this.focusOn(".row");
      },
      hide: () => this.#setDismissed(true),
      again: () => list?.again(),
    };
    return card(view);
  }
}

function rowOf(stepId: string): string {
  return `[data-step="${CSS.escape(stepId)}"] .row`;
}

if (!customElements.get("milepost-checklist")) customElements.define("milepost-checklist", MilepostChecklist);

declare global {
  interface HTMLElementTagNameMap {
    "milepost-checklist": MilepostChecklist;
  }
}
