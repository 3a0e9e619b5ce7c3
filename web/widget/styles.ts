import sheet from "./styles.css?inline";

/** Each spark of the celebration flies its own way. */
const sparks = Array.from(
  { length: 18 },
  (_, n) =>
    `.confetti i:nth-child(${n + 1}){--_turn:${n * 20 + ((n * 7) % 11)}deg;--_far:${(n * 29) % 50}px}`,
).join("");

export const styles = sheet + sparks;
