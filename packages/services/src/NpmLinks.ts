/** The two names that npm gives a global package: an upgrade exchanges what they lead to, and nothing else. */
import { dirname, resolve } from "node:path"
import { hiddenPaths, type Install, packagePaths } from "@waiaas/domain/Install"
import { NotNpmGlobal } from "@waiaas/domain/PackageErrors"
import { PACKAGE_NAME } from "@waiaas/domain/Release"
import { shellWord } from "@waiaas/domain/Shell"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { DurableFile } from "./platform/DurableFile.ts"

/**
 * What an upgrade would replace that is not npm's: a package directory that is a link (`npm link`), or a command that is the
 * operator's own. `null`: both are npm's.
 */
export const obstacleTo = ({ binLink, packageDir, hidden }: Install) =>
  Effect.gen(function* () {
    const files = yield* DurableFile
    const refuse = (manager: string, command: string, problem?: string) =>
      new NotNpmGlobal({ manager, packageDir, command, ...(problem === undefined ? {} : { problem }) })
    const linked = yield* files.readLink(packageDir)
    if (Option.isSome(linked))
      return refuse(
        "npm link",
        `npm uninstall --global ${PACKAGE_NAME} && npm install --global ${PACKAGE_NAME}`,
        `${packageDir} is a link to ${linked.value}, as npm link makes it: an upgrade would leave that directory as it is`,
      )
    const { bin } = packagePaths(packageDir)
    const target = yield* files.readLink(binLink)
    if (Option.isNone(target) && !(yield* files.exists(binLink)))
      return refuse("something else than npm install --global", `npm install --global ${PACKAGE_NAME}`)
    if (Option.isSome(target)) {
      // By name first: between two renames of a run there is no package.
      const named = resolve(yield* files.realPath(dirname(binLink)), target.value)
      if (named === bin) return null
      // Ours since step 1 of a run, until its end or its recovery.
      if (dirname(dirname(dirname(named))) === hiddenPaths(hidden).retainedAll) return null
      const leadsTo = yield* Effect.option(files.realPath(binLink))
      if (Option.contains(leadsTo, bin)) return null
    }
    const what = Option.match(target, {
      onNone: () => "is no link",
      onSome: (path) => `leads to ${path}`,
    })
    const [own, link] = [`${binLink}.own`, binLink].map(shellWord)
    return refuse(
      "a command of your own",
      `mv ${link} ${own} && ln -s ${shellWord(bin)} ${link}`,
      `${binLink} ${what}, not to ${bin}, which npm links there: it is not npm's, and an upgrade does not replace it`,
    )
  })
