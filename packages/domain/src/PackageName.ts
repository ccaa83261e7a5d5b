/** The npm name of the one published package. */
export const PACKAGE_NAME = "@waiaas/cli"
