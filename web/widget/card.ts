import { html, nothing, type TemplateResult } from "lit/html.js";
import type { Checklist } from "./checklist.js";
import { alert, check, chevron, cloud, cross, flag } from "./icons.js";
import { isDone } from "./moves.js";
import { type ListView, sentence, stepList } from "./steps.js";
import { filled, type Strings } from "./strings.js";

/** What the card shows around the list of steps. */
export interface CardView extends ListView {
  list: Checklist | undefined;
  heading: string;
  folded: boolean;
  /** It opens over the page and can be closed; otherwise it stands in the page and can be folded up. */
  floating: boolean;
  celebrating: boolean;
  reviewing: boolean;
  fold(): void;
  close(): void;
  review(): void;
  hide(): void;
  again(): void;
}

/** The whole card, whatever there is to show. */
export function card(view: CardView): TemplateResult {
  const { list, strings } = view;
  if (!list || list.phase === "loading") return skeleton(strings);
  if (list.phase === "failed") return failed(view, list.failure);
  if (list.phase === "empty" || view.steps.length === 0)
    return message(view, flag, strings.empty, strings.emptyText);
  if (list.complete && !view.reviewing) return celebration(view, list);
  return html`<div part="card" class="card" ?data-folded=${view.folded}>
    ${header(view)} ${strip(view, list)}
    <div class="fold outer" id="body" ?inert=${view.folded}>
      <div class="body">
        ${stepList(view)}
        <footer part="footer" class="footer">
          <button part="dismiss" type="button" class="link subtle" @click=${view.hide}>${strings.hide}</button>
        </footer>
      </div>
    </div>
  </div>`;
}

/** How many steps are done, and of how many. */
export function counts(steps: CardView["steps"]): { done: number; all: number } {
  return { done: steps.filter(isDone).length, all: steps.length };
}

function header(view: CardView): TemplateResult {
  const { strings } = view;
  const { done, all } = counts(view.steps);
  const text = filled(strings.progress, { done, all });
  return html`<header part="header" class="header">
    <div class="heading">
      <h2 part="title" id="heading">${view.heading || strings.title}</h2>
      ${corner(view)}
    </div>
    <div class="progress">
      <progress part="progress" aria-label=${text} max=${all} .value=${done}></progress>
      <span class="count" aria-hidden="true">${text}</span>
    </div>
  </header>`;
}

function corner(view: CardView): TemplateResult {
  const { strings } = view;
  if (view.floating) {
    return html`<button part="close" type="button" class="round" aria-label=${strings.close} @click=${view.close}>${cross}</button>`;
  }
  return html`<button
    part="collapse"
    type="button"
    class="round turn"
    aria-label=${view.folded ? strings.expand : strings.collapse}
    aria-expanded=${!view.folded}
    aria-controls="body"
    @click=${view.fold}
  >
    ${chevron}
  </button>`;
}

/** What the whole list has to say: that there is no connection, or why something was refused. */
function strip(view: CardView, list: Checklist): TemplateResult {
  const { strings } = view;
  const { refusal } = list;
  return html`<div role="status">
      ${
        list.cut
          ? html`<p part="message" class="strip">${cloud}<span>${navigator.onLine ? strings.unreachable : strings.offline}</span></p>`
          : nothing
      }
    </div>
    <div role="alert">
      ${
        refusal && !view.steps.some((one) => one.stepId === refusal.stepId)
          ? html`<p part="message" class="strip refused">${alert}<span>${sentence(refusal, view)}</span></p>`
          : nothing
      }
    </div>`;
}

function celebration(view: CardView, list: Checklist): TemplateResult {
  const { strings } = view;
  return html`<div part="card" class="card complete" ?data-celebrating=${view.celebrating}>
    <div class="confetti" aria-hidden="true">${Array.from({ length: 18 }, () => html`<i></i>`)}</div>
    <span class="medal">${check}</span>
    <h2 part="title" id="heading">${strings.complete}</h2>
    <p class="description">${strings.completeText}</p>
    ${strip(view, list)}
    <div class="actions centred">
      <button part="dismiss" type="button" class="button primary" @click=${view.hide}>${strings.close}</button>
      <button part="review" type="button" class="button quiet" @click=${view.review}>${strings.review}</button>
    </div>
  </div>`;
}

function failed(view: CardView, failure: Checklist["failure"]): TemplateResult {
  const { strings } = view;
  const status = failure?.status;
  const detail =
    status === 401 ? strings.session : status === 403 ? strings.forbidden : (failure?.detail ?? "");
  return message(
    view,
    alert,
    strings.failed,
    detail,
    html`<button part="retry" type="button" class="button" @click=${view.again}>${strings.retry}</button>`,
  );
}

function message(
  view: CardView,
  icon: TemplateResult,
  title: string,
  text: string,
  action: TemplateResult | typeof nothing = nothing,
): TemplateResult {
  return html`<div part="card" class="card message">
    ${view.floating ? html`<div class="corner">${corner(view)}</div>` : nothing}
    <span class="medal quiet">${icon}</span>
    <h2 part="title" id="heading">${title}</h2>
    <p class="description">${text}</p>
    ${action}
  </div>`;
}

function skeleton(strings: Strings): TemplateResult {
  return html`<div part="card" class="card skeleton" role="status" aria-label=${strings.loading}>
    <div class="header"><i class="wide"></i><i class="bar"></i></div>
    ${[0, 1, 2].map(() => html`<div class="ghost"><b></b><i></i></div>`)}
  </div>`;
}
