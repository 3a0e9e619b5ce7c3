/** What a server sends as `text/event-stream`: one event. `id` is what a reconnect names as `Last-Event-ID`. */
export interface ServerEvent {
  name: string;
  data: string;
  id: string;
}

/** Takes a stream of events apart, chunk by chunk, as the HTML standard says (9.2.6). */
export class EventParser {
  #rest = "";
  #name = "";
  #data: string[] = [];
  #id = "";
  #begun = false;

  /** The events that this chunk completes. */
  push(chunk: string): ServerEvent[] {
    this.#rest += chunk;
    if (!this.#begun && this.#rest) {
      this.#begun = true;
      this.#rest = this.#rest.replace(/^\uFEFF/, "");
    }
    // A carriage return at the end may be half of a line's end.
    const lines = this.#rest.split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    return lines.flatMap((line) => this.#take(line));
  }

  #take(line: string): ServerEvent[] {
    if (!line) {
      const event = { name: this.#name || "message", data: this.#data.join("\n"), id: this.#id };
      const found = this.#data.length > 0;
      this.#name = "";
      this.#data = [];
      return found ? [event] : [];
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#name = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    return [];
  }
}
