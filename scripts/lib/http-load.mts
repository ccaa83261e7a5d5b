/** Requests a second of one GET, over keep-alive connections, by a client that costs little next to any server. */
import { connect, type Socket } from "node:net"

const headEnd = "\r\n\r\n"

/** Length of the first whole response in `text`, or nothing while it is incomplete. */
const responseLength = (text: string): number | undefined => {
  const head = text.indexOf(headEnd)
  if (head < 0) return undefined
  if (!text.startsWith("HTTP/1.1 200")) throw new Error(`not a 200: ${text.slice(0, head)}`)
  const length = /\r\ncontent-length: (\d+)/i.exec(text.slice(0, head))?.[1]
  if (length === undefined) throw new Error("a response without a length")
  const end = head + headEnd.length + Number(length)
  return text.length >= end ? end : undefined
}

export const requestsPerSecond = async (
  url: string,
  { connections = 32, seconds = 3, warmUpSeconds = 1 } = {},
): Promise<number> => {
  const { hostname, port, pathname, host } = new URL(url)
  const request = `GET ${pathname} HTTP/1.1\r\nHost: ${host}\r\nConnection: keep-alive\r\n\r\n`
  let counted = 0
  let ended = false
  const sockets: Array<Socket> = []
  const failure = new Promise<never>((_, reject) => {
    for (let index = 0; index < connections; index++) {
      const socket = connect(Number(port), hostname).setNoDelay().setEncoding("latin1")
      let pending = ""
      socket.on("connect", () => socket.write(request))
      socket.on("data", (chunk: string) => {
        pending += chunk
        try {
          const length = responseLength(pending)
          if (length === undefined) return
          pending = pending.slice(length)
          counted++
          socket.write(request)
        } catch (error) {
          reject(error)
        }
      })
      socket.on("error", reject)
      socket.on("close", () => {
        if (!ended) reject(new Error("the server closed a keep-alive connection"))
      })
      sockets.push(socket)
    }
  })
  const wait = (duration: number) =>
    Promise.race([new Promise((resolve) => setTimeout(resolve, duration * 1000)), failure])
  try {
    await wait(warmUpSeconds)
    counted = 0
    const started = performance.now()
    await wait(seconds)
    return counted / ((performance.now() - started) / 1000)
  } finally {
    ended = true
    for (const socket of sockets) socket.destroy()
  }
}
