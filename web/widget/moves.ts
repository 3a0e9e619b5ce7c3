import type { ExplainedStep, Status, Step } from "@milepost/client";

/** What the catalog says of a step, as far as it is known. */
export type Rule = Pick<ExplainedStep, "completion" | "skippable" | "requires">;

/** What a person may do with a step now. */
export interface Actions {
  open: boolean;
  done: boolean;
  skip: boolean;
  unskip: boolean;
  /** It is completed by proof alone. */
  proven: boolean;
  /** The ids of the steps that come first. */
  first: string[];
}

const WAYS: Record<Status, Partial<Record<Status, Status[]>>> = {
  UP_NEXT: { IN_PROGRESS: ["IN_PROGRESS"], COMPLETED: ["IN_PROGRESS", "COMPLETED"], SKIPPED: ["SKIPPED"] },
  IN_PROGRESS: { COMPLETED: ["COMPLETED"], SKIPPED: ["SKIPPED"] },
  SKIPPED: { UP_NEXT: ["UP_NEXT"], IN_PROGRESS: ["IN_PROGRESS"] },
  COMPLETED: {},
};

/** The next status on the way to the one wanted, as the server's table of moves has it; none where there is no way. */
export function nextOnTheWay(from: Status, to: Status): Status | undefined {
  return WAYS[from][to]?.[0];
}

export function isDone(step: Step): boolean {
  return step.status === "COMPLETED" || step.status === "SKIPPED";
}

/** What to offer for a step. A rule that is not known forbids nothing: the server has the last word. */
export function actionsOf(step: Step, rule: Rule | undefined, steps: readonly Step[]): Actions {
  const undone = new Set(steps.filter((one) => !isDone(one)).map((one) => one.stepId));
  const first = isDone(step) ? [] : (rule?.requires ?? []).filter((stepId) => undone.has(stepId));
  const open = !isDone(step) && first.length === 0;
  const proven = rule?.completion === "signal";
  return {
    open,
    done: open && !proven,
    skip: !isDone(step) && rule?.skippable !== false,
    unskip: step.status === "SKIPPED",
    proven,
    first,
  };
}

/** Where a call to action leads, if a page may go there: a web address or a path, and no script. */
export function safeRoute(route: string, page: string): string | undefined {
  try {
    const { protocol } = new URL(route, page);
    return route && (protocol === "https:" || protocol === "http:") ? route : undefined;
  } catch {
    return undefined;
  }
}

/** Milliseconds to wait after so many failures: twice as long each time, up to a minute, spread by chance. */
export function backoff(failures: number, chance: number): number {
  return Math.min(60_000, 1000 * 2 ** Math.min(failures, 6)) * (0.5 + chance / 2);
}
