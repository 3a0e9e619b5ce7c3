import type { components, paths } from "./schema.js";

/** A call's method, and the paths that have it. */
export type Method = "get" | "put" | "post" | "patch" | "delete";
export type PathOf<M extends Method> = {
  [P in keyof paths]: paths[P] extends Record<M, { responses: unknown }> ? P : never;
}[keyof paths];

type Operation<M extends Method, P extends PathOf<M>> = paths[P] extends Record<M, infer O> ? O : never;
type Parameters<O, Kind extends string> = O extends { parameters: { [K in Kind]?: infer V } }
  ? NonNullable<V>
  : never;
type Content<T> = T extends { content: infer C } ? C[keyof C] : undefined;
type Body<O> = O extends { requestBody?: infer B } ? Content<NonNullable<B>> : never;
type Good<O> = O extends { responses: infer R } ? Content<R[keyof R & (200 | 201)]> : never;

/** What a call is made with: the parameters and the body that the OpenAPI document names for it. */
export interface Call<M extends Method, P extends PathOf<M>> {
  path?: Parameters<Operation<M, P>, "path">;
  query?: Parameters<Operation<M, P>, "query">;
  headers?: Parameters<Operation<M, P>, "header"> | Record<string, string>;
  body?: Body<Operation<M, P>>;
  /** What else `fetch` takes, such as `signal`. */
  init?: RequestInit;
}

/** What came back: the data of a good answer with a body, the problem of a refusal, and the answer itself. */
export interface Answer<T> {
  response: Response;
  data?: T;
  error?: components["schemas"]["ProblemDocument"];
}

export type Caller = <M extends Method, P extends PathOf<M>>(
  method: M,
  path: P,
  call?: Call<M, P>,
) => Promise<Answer<Good<Operation<M, P>>>>;

/** A function that makes calls, typed by the OpenAPI document. It throws where the network does, and nowhere else. */
export function caller(baseUrl: string, send: (request: Request) => Promise<Response>): Caller {
  return async (method, path, call = {}) => {
    const { body, init } = call;
    const ids = call.path as Record<string, string> | undefined;
    const query = new URLSearchParams(call.query as Record<string, string> | undefined).toString();
    const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(ids?.[name] ?? ""));
    const headers = new Headers(call.headers as HeadersInit | undefined);
    if (body !== undefined && !headers.has("Content-Type")) headers.set("Content-Type", "application/json");
    const response = await send(
      new Request(baseUrl + filled + (query && `?${query}`), {
        ...init,
        method: method.toUpperCase(),
        headers,
        ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
      }),
    );
    const isJson = /^application\/([\w.-]+\+)?json/.test(response.headers.get("Content-Type") ?? "");
    const content = isJson ? await response.json() : undefined;
    return response.ok ? { response, data: content } : { response, error: content };
  };
}
