import type { Step } from "@milepost/client";
import { html, nothing, type TemplateResult } from "lit/html.js";
import type { Refusal, Wish } from "./checklist.js";
import { arrow, check, chevron, dash, lock } from "./icons.js";
import { type Actions, actionsOf, type Rule, safeRoute } from "./moves.js";
import type { Strings } from "./strings.js";

/** What the list of steps shows, and what it does when something is pressed. */
export interface ListView {
  steps: readonly Step[];
  rules: ReadonlyMap<string, Rule>;
  strings: Strings;
  /** The language of the widget itself, and that of the steps' texts, where it is known. */
  language: string;
  textLanguage: string;
  unfolded: string | undefined;
  refusal: Refusal | undefined;
  unfold(stepId: string): void;
  wish(wish: Wish): void;
  follow(event: MouseEvent, step: Step): void;
}

/** The steps, of which at most one is unfolded. */
export function stepList(view: ListView): TemplateResult {
  return html`<ol part="steps" class="steps" lang=${view.textLanguage || nothing}>
    ${view.steps.map((step) => row(view, step))}
  </ol>`;
}

function row(view: ListView, step: Step): TemplateResult {
  const { strings } = view;
  const actions = actionsOf(step, view.rules.get(step.stepId), view.steps);
  const open = view.unfolded === step.stepId;
  const locked = actions.first.length > 0;
  // An id may hold a space, and what refers to it must not.
  const id = encodeURIComponent(step.stepId);
  return html`<li part="step" class="step" data-status=${step.status} data-step=${step.stepId} ?data-open=${open} ?data-locked=${locked}>
    <h3>
      <button
        part="step-title"
        class="row"
        type="button"
        id="row-${id}"
        aria-expanded=${open}
        aria-controls="panel-${id}"
        @click=${() => view.unfold(step.stepId)}
      >
        <span part="step-icon" class="icon">${icon(step, locked)}</span>
        <span class="title"><bdi>${step.title}</bdi></span>
        <span class="sr" lang=${view.language}>, ${strings[step.status]}</span>
        ${
          step.status === "IN_PROGRESS" || step.status === "SKIPPED"
            ? html`<span part="badge" class="badge" aria-hidden="true" lang=${view.language}>${strings[step.status]}</span>`
            : nothing
        }
        <span class="chevron">${chevron}</span>
      </button>
    </h3>
    <div class="fold" id="panel-${id}" role="group" aria-labelledby="row-${id}" ?inert=${!open}>
      <div class="panel">
        ${step.description ? html`<p part="description" class="description"><bdi>${step.description}</bdi></p>` : nothing}
        ${note(view, step, actions)}
        <div class="actions">${buttons(view, step, actions)}</div>
        <div role="alert">${refused(view, step)}</div>
      </div>
    </div>
  </li>`;
}

function icon(step: Step, locked: boolean): TemplateResult | typeof nothing {
  if (step.status === "COMPLETED") return check;
  if (step.status === "SKIPPED") return dash;
  return locked ? lock : nothing;
}

function note(view: ListView, step: Step, actions: Actions): TemplateResult | typeof nothing {
  const { strings, language } = view;
  const [first] = actions.first;
  if (first !== undefined) {
    const title = view.steps.find((one) => one.stepId === first)?.title ?? first;
    return html`<p class="note">
      <span lang=${language}>${strings.first}</span>
      <button type="button" class="link" @click=${() => view.unfold(first)}><bdi>${title}</bdi></button>
    </p>`;
  }
  if (step.status === "COMPLETED" && step.completedAt) {
    const day = new Intl.DateTimeFormat(language, { dateStyle: "medium" }).format(new Date(step.completedAt));
    return html`<p class="note" lang=${language}><bdi>${strings.COMPLETED} · ${day}</bdi></p>`;
  }
  return actions.proven && actions.open
    ? html`<p class="note" lang=${language}><bdi>${strings.proven}</bdi></p>`
    : nothing;
}

function buttons(view: ListView, step: Step, actions: Actions): TemplateResult {
  const { strings, language } = view;
  const move = (to: Step["status"]) => () => view.wish({ stepId: step.stepId, to });
  const route = step.ctaLabel ? safeRoute(step.ctaRoute, document.baseURI) : undefined;
  const quiet = !actions.open;
  return html`
    ${
      route && actions.first.length === 0
        ? html`<a part="cta" class=${quiet ? "button quiet" : "button primary"} href=${route} @click=${(event: MouseEvent) => view.follow(event, step)}
          >${step.ctaLabel}${arrow}</a
        >`
        : nothing
    }
    ${
      !route && actions.open && step.status === "UP_NEXT"
        ? html`<button part="start" class="button primary" type="button" lang=${language} @click=${move("IN_PROGRESS")}>${strings.start}</button>`
        : nothing
    }
    ${
      actions.done
        ? html`<button part="done" class="button" type="button" lang=${language} @click=${move("COMPLETED")}>${strings.done}</button>`
        : nothing
    }
    ${
      actions.skip
        ? html`<button part="skip" class="button quiet" type="button" lang=${language} @click=${move("SKIPPED")}>${strings.skip}</button>`
        : nothing
    }
    ${
      actions.unskip
        ? html`<button part="unskip" class="button" type="button" lang=${language} @click=${move("UP_NEXT")}>${strings.unskip}</button>`
        : nothing
    }
  `;
}

function refused(view: ListView, step: Step): TemplateResult | typeof nothing {
  const { refusal, language } = view;
  if (refusal?.stepId !== step.stepId) return nothing;
  return html`<p part="message" class="refused" lang=${language}><bdi>${sentence(refusal, view)}</bdi></p>`;
}

/** Why the server refused, in the user's words where the widget has them, else in the server's own. */
export function sentence(refusal: Refusal, view: Pick<ListView, "strings" | "steps">): string {
  const own = view.strings[refusal.name as keyof Strings];
  if (!own) return refusal.detail;
  if (refusal.name !== "prerequisites_open") return own;
  // The server names the steps by their ids, which mean nothing to a user.
  const named = view.steps.filter(
    (one) => one.stepId !== refusal.stepId && refusal.detail.includes(one.stepId),
  );
  return named.length ? `${view.strings.first} ${named.map((one) => one.title).join(", ")}` : own;
}
