/** What somebody meant who typed a name wrong. */

/** How many letters have to be changed, added, left out or exchanged with their neighbour. */
export const editsBetween = (a: string, b: string): number => {
  const rows = [Array.from({ length: b.length + 1 }, (_, index) => index)]
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1]
      row[j] = Math.min(
        (rows[i - 1]?.[j] ?? 0) + 1,
        (row[j - 1] ?? 0) + 1,
        (rows[i - 1]?.[j - 1] ?? 0) + (isSame ? 0 : 1),
        a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? (rows[i - 2]?.[j - 2] ?? 0) + 1 : Infinity,
      )
    }
    rows.push(row)
  }
  return rows[a.length]?.[b.length] ?? Infinity
}

/** The one of `known` that was probably meant. */
export const nearest = (word: string, known: ReadonlyArray<string>): string | undefined => {
  const far = Math.max(1, Math.floor(word.length / 3))
  const near = known
    .map((each) => [each, editsBetween(word.toLowerCase(), each)] as const)
    .filter(([, changes]) => changes <= far)
    .sort(([, a], [, b]) => a - b)[0]
  if (near !== undefined) return near[0]
  const longer = known.filter((each) => word.length > 1 && each.startsWith(word.toLowerCase()))
  return longer.length === 1 ? longer[0] : undefined
}
