import { html, svg, type TemplateResult } from "lit/html.js";

function icon(shape: TemplateResult): TemplateResult {
  return html`<svg viewBox="0 0 24 24" aria-hidden="true" focusable="false">${shape}</svg>`;
}

export const chevron = icon(svg`<path d="m6 9.5 6 6 6-6" />`);
export const cross = icon(svg`<path d="m6.5 6.5 11 11m0-11-11 11" />`);
export const check = icon(svg`<path class="draw" pathLength="1" d="m6 12.5 4 4 8-9" />`);
export const dash = icon(svg`<path d="M8 12h8" />`);
export const arrow = icon(svg`<path d="M5 12h14m-6-6 6 6-6 6" />`);
export const cloud = icon(
  svg`<path d="M4 4l16 16M9 6.5a5.5 5.5 0 0 1 8.5 4 4 4 0 0 1 2.6 6M16 18.5H7.5a4.5 4.5 0 0 1-1-8.9" />`,
);
export const alert = icon(svg`<path d="M12 7.5v6m0 3.2v.1" /><circle cx="12" cy="12" r="9" />`);
export const lock = icon(
  svg`<rect x="7" y="11" width="10" height="7" rx="1.5" /><path d="M9 11V9a3 3 0 0 1 6 0v2" />`,
);
export const flag = icon(svg`<path d="M7 20V5h10l-2.5 3.500L17 12H7" />`);

/** A ring that fills up; `share` is from 0 to 1. */
export function ring(share: number): TemplateResult {
  return html`<svg class="ring" viewBox="0 0 36 36" aria-hidden="true" focusable="false">
    <circle class="track" cx="18" cy="18" r="15.5" />
    <circle
      class="fill"
      cx="18"
      cy="18"
      r="15.5"
      pathLength="100"
      stroke-dasharray="${share > 0 ? Math.round(share * 100) : 0} 200"
      ?hidden=${share === 0}
    />
  </svg>`;
}
