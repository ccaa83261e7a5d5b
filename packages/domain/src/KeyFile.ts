/** How the keystore names the file of a sealed key, so that a key that is not opened is missed. */
const NAME = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.json$/i

/** The agents whose sealed keys are among the files of a keystore. */
export const agentsOfKeyFiles = (names: ReadonlyArray<string>): ReadonlyArray<string> =>
  names.flatMap((name) => NAME.exec(name)?.[1] ?? [])
