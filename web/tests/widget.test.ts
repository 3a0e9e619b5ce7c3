import { readdirSync } from "node:fs";
import type { Status, Step } from "@milepost/client";
import { describe, expect, test } from "vitest";
import { actionsOf, backoff, nextOnTheWay, safeRoute } from "../widget/moves.js";
import { directionOf, ENGLISH, filled, OTHERS, spoken } from "../widget/strings.js";

function step(stepId: string, status: Status = "UP_NEXT"): Step {
  return { stepId, status, title: stepId, description: "", ctaLabel: "", ctaRoute: "", sortOrder: 1 };
}

describe("the way to a status", () => {
  test("goes through every status that the server asks for", () => {
    expect(nextOnTheWay("UP_NEXT", "COMPLETED")).toBe("IN_PROGRESS");
    expect(nextOnTheWay("IN_PROGRESS", "COMPLETED")).toBe("COMPLETED");
    expect(nextOnTheWay("SKIPPED", "UP_NEXT")).toBe("UP_NEXT");
  });

  test("is not there where the server has none", () => {
    expect(nextOnTheWay("COMPLETED", "UP_NEXT")).toBeUndefined();
    expect(nextOnTheWay("IN_PROGRESS", "UP_NEXT")).toBeUndefined();
  });
});

describe("what is offered for a step", () => {
  const others = [step("first"), step("second")];

  test("is everything where no rule is known", () => {
    expect(actionsOf(step("second"), undefined, others)).toMatchObject({
      open: true,
      done: true,
      skip: true,
    });
  });

  test("is not to mark by hand what proof completes, nor to skip what may not be skipped", () => {
    const rule = { completion: "signal", skippable: false } as const;
    expect(actionsOf(step("second"), rule, others)).toMatchObject({
      open: true,
      done: false,
      skip: false,
      proven: true,
    });
  });

  test("waits for the steps that come first, as they are shown now", () => {
    const rule = { completion: "manual", requires: ["first"] } as const;
    expect(actionsOf(step("second"), rule as never, others)).toMatchObject({ open: false, first: ["first"] });
    const done = [step("first", "SKIPPED"), step("second")];
    expect(actionsOf(step("second"), rule as never, done)).toMatchObject({ open: true, first: [] });
  });

  test("is to undo a skip where it was skipped, and nothing where it is done", () => {
    expect(actionsOf(step("a", "SKIPPED"), undefined, others)).toMatchObject({
      unskip: true,
      skip: false,
      done: false,
    });
    expect(actionsOf(step("a", "COMPLETED"), undefined, others)).toMatchObject({
      unskip: false,
      skip: false,
      done: false,
    });
  });
});

test("a call to action leads to web addresses and paths alone", () => {
  const page = "https://app.example/home";
  for (const route of ["/me", "me?x=1#y", "https://other.example/"])
    expect(safeRoute(route, page)).toBe(route);
  for (const route of [
    "javascript:alert(1)",
    " jAvascript:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "",
    "http://[",
  ]) {
    expect(safeRoute(route, page), route).toBeUndefined();
  }
});

test("the wait after failures doubles up to a minute, spread by chance", () => {
  expect(backoff(0, 1)).toBe(1000);
  expect(backoff(0, 0)).toBe(500);
  expect(backoff(3, 1)).toBe(8000);
  expect(backoff(50, 1)).toBe(60_000);
});

describe("the strings", () => {
  test("are there in every language that is promised, each with the same placeholders", async () => {
    const files = readdirSync(new URL("../widget/languages", import.meta.url)).map((file) =>
      file.replace(".ts", ""),
    );
    expect(files.sort()).toEqual(OTHERS);
    const names = (text: string) => [...text.matchAll(/\{\w+\}/g)].map(([name]) => name).sort();
    for (const language of OTHERS) {
      const { default: strings } = await import(`../widget/languages/${language}.ts`);
      for (const [name, text] of Object.entries(ENGLISH)) {
        expect(strings[name], `${language}: ${name}`).toBeTruthy();
        expect(names(strings[name]), `${language}: ${name}`).toEqual(names(text));
      }
    }
  });

  test("are chosen by the language without its region, English for one that is not spoken", () => {
    expect(spoken("de-AT")).toBe("de");
    expect(spoken("AR")).toBe("ar");
    expect(spoken("fi")).toBe("en");
  });

  test("run in the direction of their language", () => {
    expect([directionOf("ar-EG"), directionOf("he"), directionOf("de"), directionOf("arn")]).toEqual([
      "rtl",
      "rtl",
      "ltr",
      "ltr",
    ]);
  });

  test("take values in", () => {
    expect(filled("{done} of {all}", { done: 1, all: 3 })).toBe("1 of 3");
  });
});
