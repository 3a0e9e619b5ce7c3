/** The widget's own strings, in the language that it has with it. */
export const ENGLISH = {
  title: "Get started",
  progress: "{done} of {all} done",
  loading: "Loading your checklist",
  empty: "Nothing to do right now",
  emptyText: "When there is a next step for you, you will find it here.",
  failed: "The checklist could not be loaded",
  session: "Your session has ended. Sign in again to go on.",
  forbidden: "You may not see this checklist.",
  retry: "Try again",
  offline: "You are offline. What you change is sent as soon as you are back.",
  unreachable: "The service cannot be reached. Trying again…",
  start: "Start",
  done: "Mark as done",
  skip: "Skip",
  unskip: "Undo skip",
  proven: "This is checked off by itself once it is done.",
  first: "First:",
  UP_NEXT: "To do",
  IN_PROGRESS: "In progress",
  COMPLETED: "Done",
  SKIPPED: "Skipped",
  hide: "Hide the checklist",
  restore: "Show the checklist",
  collapse: "Fold up",
  expand: "Unfold",
  close: "Close",
  complete: "You are all set!",
  completeText: "Every step is done. Well done.",
  review: "Show the steps",
  not_skippable: "This step cannot be skipped.",
  proof_required: "This step cannot be marked by hand. It is checked off by itself once it is done.",
  prerequisites_open: "Something else comes first.",
  changed: "This has changed meanwhile. Here is how it is now.",
};

export type Strings = Record<keyof typeof ENGLISH, string>;

/** Languages that come in files of their own, for those who read them. */
export const OTHERS = ["ar", "de", "es", "fr", "sv"];

/** The language of the widget's own strings where one such as `de-AT` is asked for: English where it has none. */
export function spoken(language: string): string {
  const name = language.toLowerCase().split("-")[0] ?? "";
  return OTHERS.includes(name) ? name : "en";
}

/** The widget's own strings in a language that it speaks; in English where the file cannot be had. */
export async function stringsIn(language: string): Promise<Strings> {
  if (!OTHERS.includes(language)) return ENGLISH;
  const file = import.meta.url.replace(/\.js\b/, `.${language}.js`);
  return import(/* @vite-ignore */ file).then(
    (module) => module.default,
    () => ENGLISH,
  );
}

const RTL = /^(ar|arc|ckb|dv|fa|he|ps|sd|ug|ur|yi)(-|$)/i;

/** The direction that a language is written in. */
export function directionOf(language: string): "ltr" | "rtl" {
  return RTL.test(language) ? "rtl" : "ltr";
}

/** A string with its placeholders filled in. */
export function filled(text: string, values: Record<string, string | number>): string {
  return text.replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? ""));
}
