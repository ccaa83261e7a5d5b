/** Parts of the docs that a script writes, between `<!-- name: begin -->` and `<!-- name: end -->`. */
import { readFileSync, writeFileSync } from "node:fs"
import { availableParallelism, cpus, totalmem } from "node:os"
import { join } from "node:path"
import { root } from "./repo.mts"

/** A document's text with the part in it. */
export const withPart = (path: string, text: string, name: string, part: string): string => {
  const [begin, end] = [`<!-- ${name}: begin -->`, `<!-- ${name}: end -->`]
  const from = text.indexOf(begin)
  const to = text.indexOf(end)
  if (from === -1 || to < from) throw new Error(`${path}: no ${begin} ... ${end}`)
  return `${text.slice(0, from + begin.length)}\n${part}\n${text.slice(to)}`
}

/** Writes the part; `path` is relative to the repository. */
export const writePart = (path: string, name: string, part: string): void => {
  const file = join(root, path)
  writeFileSync(file, withPart(path, readFileSync(file, "utf8"), name, part))
}

/** The machine that a figure was measured on, and the day. */
export const machineLine = (): string =>
  `${process.platform}-${process.arch}, ${availableParallelism()} cores (${cpus()[0]?.model ?? "unknown"}), ${Math.round(totalmem() / 1e9)} GB, Node ${process.versions.node}, ${new Date().toISOString().slice(0, 10)}`
