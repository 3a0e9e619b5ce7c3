import { EventParser } from "@milepost/client";
import { backoff } from "./moves.js";

export const POLL = 15_000;
/** The stream is taken for dead after this long without a byte: the server sends a comment more often. */
const SILENCE = 60_000;
/** A stream that was refused is tried again after this long: the server may have learned it, or let the user in. */
const REFUSED = 300_000;

/**
 * Tells when it is time to look: as the stream of events says, and where there is none every 15 seconds.
 *
 * A page that is not seen holds no connection: browsers allow few of them to one server.
 */
export class Live {
  #stop = new AbortController();
  #stream: AbortController | undefined;
  #poll: ReturnType<typeof setInterval> | undefined;
  #lastId = "";
  #failures = 0;
  /** Events arrive, so that there is no need to ask. */
  streaming = false;

  constructor(
    private readonly open: (lastId: string, signal: AbortSignal) => Promise<Response>,
    private readonly look: () => void,
  ) {}

  start(): void {
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    document.addEventListener("visibilitychange", () => this.wake(), { signal });
    window.addEventListener("focus", () => this.streaming || this.look(), { signal });
    this.#poll = setInterval(() => {
      if (!this.streaming && !document.hidden) this.look();
    }, POLL);
    if (!document.hidden) void this.#follow();
  }

  end(): void {
    this.#stop.abort();
    this.#stream?.abort();
    clearInterval(this.#poll);
    this.streaming = false;
  }

  /** Begin anew after the page was hidden, or the way to the server was closed. */
  wake(): void {
    this.#stream?.abort();
    if (document.hidden || this.#stop.signal.aborted) return;
    this.look();
    this.#failures = 0;
    void this.#follow();
  }

  async #follow(): Promise<void> {
    const stream = new AbortController();
    this.#stream?.abort();
    this.#stream = stream;
    while (!stream.signal.aborted) {
      const refused = await this.#listen(stream.signal).catch(() => false);
      if (stream.signal.aborted) break;
      if (this.streaming) this.look();
      this.streaming = false;
      await pause(refused ? REFUSED : backoff(this.#failures++, Math.random()), stream.signal);
    }
    if (this.#stream === stream) this.streaming = false;
  }

  /** Follow one stream to its end; answers whether it was refused. */
  async #listen(signal: AbortSignal): Promise<boolean> {
    const silent = new AbortController();
    let clock = setTimeout(() => silent.abort(), SILENCE);
    try {
      const answer = await this.open(this.#lastId, AbortSignal.any([signal, silent.signal]));
      const type = answer.headers.get("Content-Type") ?? "";
      if (!answer.ok || !type.startsWith("text/event-stream") || !answer.body) {
        await answer.body?.cancel();
        return answer.status < 500 && answer.status !== 429;
      }
      const parser = new EventParser();
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return false;
        clearTimeout(clock);
        clock = setTimeout(() => silent.abort(), SILENCE);
        for (const event of parser.push(value)) {
          this.#lastId = event.id || this.#lastId;
          this.streaming = event.name !== "end";
          this.#failures = 0;
          this.look();
        }
      }
    } finally {
      clearTimeout(clock);
    }
  }
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const clock = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(clock);
      resolve();
    });
  });
}
