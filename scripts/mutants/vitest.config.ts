/** The tests that planted mistakes are run against: those of Layers, in StrykerJS's copy of the repository. */
import { defineConfig } from "vitest/config"

export default defineConfig({
  resolve: {
    // node_modules is linked into the copy and leads to the sources without the mistakes.
    alias: [{ find: /^@waiaas\/([a-z]+)\/(.*)$/, replacement: `${process.cwd()}/packages/$1/src/$2.ts` }],
  },
  test: {
    include: ["packages/*/test/**/*.test.ts", "test/lessons/**/*.test.ts", "test/hostile/**/*.test.ts"],
    exclude: ["**/*.slow.test.ts"],
    // Loading Effect anew for each mistake takes longer than the tests that it needs.
    isolate: false,
    // Code with mistakes planted in it is slower, and StrykerJS has a limit of its own for each.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
