import { type Caller, caller } from "./call.js";
import type { components } from "./schema.js";
import { Tokens } from "./tokens.js";

export type { Answer, Call, Caller, Method, PathOf } from "./call.js";
export { EventParser, type ServerEvent } from "./events.js";
export type { components, operations, paths } from "./schema.js";
export { expiry, Tokens } from "./tokens.js";

type Schemas = components["schemas"];
export type UserProperties = Schemas["UserProperties"];
export type GuidedChecklist = Schemas["GuidedChecklist"];
export type Step = Schemas["Step"];
export type Status = Schemas["Status"];
export type Explanation = Schemas["Explanation"];
export type ExplainedStep = Schemas["Explained"];
export type Problem = Schemas["ProblemDocument"];

export interface Options {
  /** Where the service is, such as `https://milepost.example`, without the API's own path. */
  baseUrl: string;
  /** A token, or what answers one; it is asked again before the token expires, and after a 401. */
  token: string | (() => string | Promise<string>);
  /** The languages that texts are asked for in, as in `Accept-Language`. */
  language?: () => string | undefined;
  fetch?: (request: Request) => Promise<Response>;
}

export interface MilepostClient {
  /** A call of the API: `call("get", "/api/usermanagement/v1/organizations", { query: { limit: 10 } })`. */
  call: Caller;
  /** A request of your own that shall carry the token. */
  send(request: Request): Promise<Response>;
}

/** A client of Milepost's API, which sends the token with each call and renews it when it is time. */
export function createClient(options: Options): MilepostClient {
  const { token, language } = options;
  const tokens = new Tokens(typeof token === "string" ? () => token : token);
  const fetcher = options.fetch ?? ((request: Request) => fetch(request));

  async function send(request: Request): Promise<Response> {
    const asked = language?.();
    if (asked) request.headers.set("Accept-Language", asked);
    const held = await tokens.current();
    const again = request.clone();
    request.headers.set("Authorization", `Bearer ${held}`);
    const answer = await fetcher(request);
    if (answer.status !== 401) return answer;
    const renewed = await tokens.current(held);
    if (renewed === held) return answer;
    again.headers.set("Authorization", `Bearer ${renewed}`);
    return fetcher(again);
  }

  return { call: caller(options.baseUrl, send), send };
}
