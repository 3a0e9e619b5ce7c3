import { render, type TemplateResult } from "lit/html.js";

/** The properties that are attributes of the same meaning: texts, and flags that are there or not. */
export const TEXTS = {
  baseUrl: "base-url",
  userId: "user-id",
  orgId: "org-id",
  token: "token",
  heading: "heading",
  mode: "mode",
  theme: "theme",
} as const;
const FLAGS = ["open", "collapsed"] as const;

/**
 * A custom element drawn by a Lit template. LitElement itself would be a sixth of what the widget may weigh, for
 * a reactivity that attributes alone do here: each property is one, so that there is one place where it stands.
 */
export abstract class DrawnElement extends HTMLElement {
  static readonly observedAttributes = [...Object.values(TEXTS), ...FLAGS, "lang", "dir"];

  declare baseUrl: string;
  declare userId: string;
  declare orgId: string;
  declare token: string;
  declare heading: string;
  declare mode: string;
  declare theme: string;
  declare open: boolean;
  declare collapsed: boolean;

  readonly #root = this.attachShadow({ mode: "open" });
  #drawn: Promise<void> | undefined;

  abstract draw(): TemplateResult;
  abstract attributeChangedCallback(name: string, before: string | null, now: string | null): void;

  /** Take over what was set on the element before it was defined. */
  protected adopt(names: readonly string[], sheet: string): void {
    const early = this as unknown as Record<string, unknown>;
    for (const name of names) {
      if (Object.hasOwn(this, name)) {
        const value = early[name];
        delete early[name];
        early[name] = value;
      }
    }
    const styles = new CSSStyleSheet();
    styles.replaceSync(sheet);
    this.#root.adoptedStyleSheets = [styles];
  }

  /** Draw once what has changed by then; the promise is kept when that is done. */
  redraw(): Promise<void> {
    this.#drawn ??= Promise.resolve().then(() => {
      this.#drawn = undefined;
      if (this.isConnected) render(this.draw(), this.#root);
    });
    return this.#drawn;
  }

  /** Give the focus to what a selector finds, once that is drawn. */
  focusOn(selector: string): void {
    void this.redraw().then(() => this.#root.querySelector<HTMLElement>(selector)?.focus());
  }

  get focused(): Element | null {
    return this.#root.activeElement;
  }
}

for (const [name, attribute] of Object.entries(TEXTS)) {
  Object.defineProperty(DrawnElement.prototype, name, {
    get(this: DrawnElement) {
      return this.getAttribute(attribute) ?? "";
    },
    set(this: DrawnElement, value: string | null | undefined) {
      if (value == null) this.removeAttribute(attribute);
      else this.setAttribute(attribute, value);
    },
  });
}
for (const name of FLAGS) {
  Object.defineProperty(DrawnElement.prototype, name, {
    get(this: DrawnElement) {
      return this.hasAttribute(name);
    },
    set(this: DrawnElement, value: boolean) {
      this.toggleAttribute(name, value);
    },
  });
}
