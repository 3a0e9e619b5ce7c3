import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const languages = readdirSync(new URL("widget/languages", import.meta.url)).map((file) =>
  file.replace(/\.ts$/, ""),
);

/** One file, that a page of any origin loads by a name that stays; beside it one for each other language. */
export default defineConfig({
  resolve: { alias: { "@milepost/client": fileURLToPath(new URL("client/src/index.ts", import.meta.url)) } },
  build: {
    outDir: "../src/milepost/web/widget",
    emptyOutDir: true,
    target: "es2022",
    cssTarget: "chrome123",
    modulePreload: false,
    rolldownOptions: {
      input: Object.fromEntries([
        ["milepost-checklist", "widget/element.ts"],
        ...languages.map((name) => [`milepost-checklist.${name}`, `widget/languages/${name}.ts`]),
      ]),
      preserveEntrySignatures: "allow-extension",
      output: { entryFileNames: "[name].js" },
    },
  },
});
