/** The npm name of the one published package. */
export const PACKAGE_NAME = "@waiaas/cli"

/** Where its source is: the published `package.json` and what a person is sent to have it from here. */
export const REPOSITORY = "https://github.com/waiaas/waiaas"
export const ISSUES = `${REPOSITORY}/issues`
