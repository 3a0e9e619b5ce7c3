import { createClient, EventParser, expiry, Tokens } from "@milepost/client";
import { describe, expect, test } from "vitest";

function jwt(claims: object): string {
  const part = (value: object) =>
    btoa(JSON.stringify(value)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return `${part({ alg: "EdDSA" })}.${part(claims)}.signature`;
}

describe("a stream of events is taken apart", () => {
  const stream =
    '\uFEFF: a comment\r\nid: 7\r\nevent: ready\r\ndata: {}\r\n\r\nid: 8\nevent:changed\ndata: {"a":\ndata:  1}\n\ndata\n\nevent: nothing\n\n';
  const events = [
    { name: "ready", data: "{}", id: "7" },
    { name: "changed", data: '{"a":\n 1}', id: "8" },
    { name: "message", data: "", id: "8" },
  ];

  test("as a whole", () => {
    expect(new EventParser().push(stream)).toEqual(events);
  });

  test("however it is cut into chunks", () => {
    for (let at = 0; at <= stream.length; at++) {
      const parser = new EventParser();
      expect([...parser.push(stream.slice(0, at)), ...parser.push(stream.slice(at))], `cut at ${at}`).toEqual(
        events,
      );
    }
    const parser = new EventParser();
    expect([...stream].flatMap((one) => parser.push(one))).toEqual(events);
  });

  test("an id with a NUL is ignored, and an event without its empty line is not there yet", () => {
    expect(new EventParser().push("id: a\0b\ndata: 1\n\ndata: 2\n")).toEqual([
      { name: "message", data: "1", id: "" },
    ]);
  });
});

describe("a token", () => {
  test("expires when its claim says, and one that says nothing does not", () => {
    expect(expiry(jwt({ exp: 1_700_000_000, sub: "leila?~" }))).toBe(1_700_000_000_000);
    expect(expiry(jwt({}))).toBe(Number.POSITIVE_INFINITY);
    expect(expiry("mk_key_text")).toBe(Number.POSITIVE_INFINITY);
  });

  test("is asked for once, by however many calls, and again when it is about to expire or was refused", async () => {
    let asked = 0;
    let now = 0;
    const tokens = new Tokens(
      async () => jwt({ exp: (now + 100_000) / 1000, n: ++asked }),
      () => now,
    );

    const [one, other] = await Promise.all([tokens.current(), tokens.current()]);
    expect(one).toBe(other);
    now = 69_000;
    expect(await tokens.current()).toBe(one);
    now = 71_000;
    const renewed = await tokens.current();
    expect(renewed).not.toBe(one);
    expect(await tokens.current(one)).toBe(renewed);
    expect(await tokens.current(renewed)).not.toBe(renewed);
    expect(asked).toBe(3);
  });

  test("that could not be had is asked for again by the next call", async () => {
    let asked = 0;
    const tokens = new Tokens(() => {
      asked += 1;
      if (asked === 1) throw new Error("away");
      return "token";
    });

    await expect(tokens.current()).rejects.toThrow("away");
    expect(await tokens.current()).toBe("token");
  });
});

describe("a call", () => {
  test("fills in its path, its query and its body, and carries the token and the language", async () => {
    const sent: Request[] = [];
    const client = createClient({
      baseUrl: "https://milepost.example",
      token: "token",
      language: () => "sv",
      fetch: async (request) => {
        sent.push(request);
        return Response.json({ userId: "a/b" });
      },
    });

    const { data, error } = await client.call(
      "patch",
      "/api/usermanagement/v1/users/{userId}/properties/guided-checklist/steps/{stepId}",
      {
        path: { userId: "a/b", stepId: "ö" },
        query: { orgId: "ö & co" },
        headers: { "If-Match": '"1"' },
        body: { status: "SKIPPED" },
      },
    );

    expect(data?.userId).toBe("a/b");
    expect(error).toBeUndefined();
    const [request] = sent;
    expect(request?.url).toBe(
      "https://milepost.example/api/usermanagement/v1/users/a%2Fb/properties/guided-checklist/steps/%C3%B6?orgId=%C3%B6+%26+co",
    );
    expect(request?.headers.get("Authorization")).toBe("Bearer token");
    expect(request?.headers.get("Accept-Language")).toBe("sv");
    expect(request?.headers.get("Content-Type")).toBe("application/json");
    expect(await request?.json()).toEqual({ status: "SKIPPED" });
  });

  test("that is refused answers the problem, and one whose token is refused is made again with another", async () => {
    const held: (string | null)[] = [];
    let n = 0;
    const client = createClient({
      baseUrl: "https://milepost.example",
      token: () => `token-${++n}`,
      fetch: async (request) => {
        held.push(request.headers.get("Authorization"));
        expect(await request.text()).toBe('{"status":"SKIPPED"}');
        const status = held.length === 1 ? 401 : 409;
        const headers = { "Content-Type": "application/problem+json" };
        return new Response(JSON.stringify({ name: "illegal_transition", status }), { status, headers });
      },
    });

    const { data, error } = await client.call(
      "patch",
      "/api/usermanagement/v1/users/{userId}/properties/guided-checklist/steps/{stepId}",
      { path: { userId: "u", stepId: "s" }, query: { orgId: "o" }, body: { status: "SKIPPED" } },
    );

    expect(data).toBeUndefined();
    expect(error?.name).toBe("illegal_transition");
    expect(held).toEqual(["Bearer token-1", "Bearer token-2"]);
  });
});
