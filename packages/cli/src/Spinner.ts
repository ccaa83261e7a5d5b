import * as Effect from "effect/Effect"

const frames = ["|", "/", "-", "\\"]
/** To the line's beginning, and all of it away: it moves the cursor and colours nothing. */
const WIPE = "\r\u001b[2K"

/** One line that moves on a terminal; elsewhere (`moving` false) each line is printed once. */
export const makeSpinner = (moving: boolean, write: (text: string) => void) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      let timer: NodeJS.Timeout | undefined
      let title = ""
      let detail = ""
      let began = 0
      let frame = 0
      const clear = () => {
        if (timer !== undefined) write(WIPE)
      }
      const draw = () => {
        frame = (frame + 1) % frames.length
        const what = `${title}${detail ? ` (${detail.trim()})` : ""}`
        write(`${WIPE}${frames[frame]} ${what} ${Math.floor((performance.now() - began) / 1000)} s`)
      }
      const stop = () => {
        if (timer === undefined) return
        clear()
        clearInterval(timer)
        timer = undefined
        write(`${title}\n`)
      }
      return {
        start: (line: string) => {
          stop()
          title = line
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
          clear()
          write(`${line}\n`)
        },
        stop,
      }
    }),
    (spinner) => Effect.sync(spinner.stop),
  )
