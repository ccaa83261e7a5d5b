import * as Effect from "effect/Effect"

const frames = ["|", "/", "-", "\\"]
/** To the line's beginning, and all of it away: it moves the cursor and colours nothing. */
const WIPE = "\r\u001b[2K"

/** A line that wraps could not be wiped any more: it would stay, once for each frame. */
const fit = (text: string, columns: number): string =>
  text.length < columns ? text : `${text.slice(0, Math.max(0, columns - 4))}...`

/**
 * One line that moves on a terminal; elsewhere (`moving` false) each line is printed once. What remains reads the same
 * in both: a title comes before what is printed under it. `columns`: the terminal's width now.
 */
export const makeSpinner = (moving: boolean, write: (text: string) => void, columns: () => number) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      let timer: NodeJS.Timeout | undefined
      let title = ""
      let isTitled = false
      let detail = ""
      let began = 0
      let frame = 0
      const draw = () => {
        frame = (frame + 1) % frames.length
        const what = isTitled ? detail.trim() : `${title}${detail ? ` (${detail.trim()})` : ""}`
        const time = ` ${Math.floor((performance.now() - began) / 1000)} s`
        write(`${WIPE}${frames[frame]} ${fit(what, columns() - 2 - time.length)}${time}`)
      }
      /** Wipes what moves; leaves the title for good. */
      const leaveTitle = () => {
        if (timer === undefined) return
        write(isTitled ? WIPE : `${WIPE}${title}\n`)
        isTitled = true
      }
      const stop = () => {
        if (timer === undefined) return
        leaveTitle()
        clearInterval(timer)
        timer = undefined
      }
      return {
        start: (line: string) => {
          stop()
          title = line
          isTitled = false
          detail = ""
          began = performance.now()
          if (moving) timer = setInterval(draw, 120)
          else write(`${line}\n`)
        },
        detail: (line: string) => {
          detail = line
          if (!moving) write(`${line}\n`)
        },
        print: (line: string) => {
          leaveTitle()
          write(`${line}\n`)
        },
        stop,
      }
    }),
    (spinner) => Effect.sync(spinner.stop),
  )
