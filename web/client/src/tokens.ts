/** Renew this long before a token expires, in milliseconds: a call takes time, and clocks differ. */
const EARLY = 30_000;

/** When a JWT expires, in milliseconds since 1970; never, where the text says nothing of it. */
export function expiry(token: string): number {
  try {
    const payload = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const { exp } = JSON.parse(atob(payload));
    return typeof exp === "number" ? exp * 1000 : Number.POSITIVE_INFINITY;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

/** The token that calls carry: asked for once, and again before it expires or after it was refused. */
export class Tokens {
  #token = "";
  #asked: Promise<string> | undefined;

  constructor(
    private readonly get: () => string | Promise<string>,
    private readonly now: () => number = Date.now,
  ) {}

  /** A token that still holds. Where `refused` is the one in use, a new one is asked for. */
  async current(refused?: string): Promise<string> {
    if (this.#token && this.#token !== refused && this.now() < expiry(this.#token) - EARLY)
      return this.#token;
    // Calls that need a new one at the same time share the question.
    this.#asked ??= Promise.resolve()
      .then(this.get)
      .finally(() => {
        this.#asked = undefined;
      });
    this.#token = await this.#asked;
    return this.#token;
  }
}
