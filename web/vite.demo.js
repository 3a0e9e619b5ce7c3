import { defineConfig } from "vite";

/** The page /demo. What its assets are called has a hash of what is in them. */
export default defineConfig({
  root: "demo",
  base: "/demo/",
  build: {
    outDir: "../../src/milepost/web/demo",
    emptyOutDir: true,
    target: "es2022",
    cssTarget: "chrome123",
    modulePreload: false,
  },
});
