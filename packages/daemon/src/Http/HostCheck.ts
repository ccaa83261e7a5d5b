/**
 * The Host header against DNS rebinding: a page whose name was made to point here still sends its own
 * name. What we answer to is the configured host name and this machine's own names.
 */
const isWildcard = (hostname: string) => hostname === "0.0.0.0" || hostname === "::"
const bracketed = (hostname: string) => (hostname.includes(":") ? `[${hostname}]` : hostname)

/** An IP address cannot be rebound: there is no name in it. */
const ipAddress = /^(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:.]+\])(?::\d+)?$/
const localName = /^localhost(?::\d+)?$/

export const makeHostCheck = (options: {
  readonly hostname: string
  readonly port: number
}): ((header: string | undefined) => boolean) => {
  const hostname = options.hostname.toLowerCase()
  // Bound to every address, a daemon is reached through addresses and mapped ports that it does not know.
  if (isWildcard(hostname))
    return (header) => {
      const host = header?.toLowerCase() ?? ""
      return ipAddress.test(host) || localName.test(host)
    }
  const names = [bracketed(hostname), "localhost", "127.0.0.1", "[::1]"]
  const allowed = new Set(names.map((name) => `${name}:${options.port}`))
  // A client leaves the default port out.
  if (options.port === 80) for (const name of names) allowed.add(name)
  return (header) => header !== undefined && allowed.has(header.toLowerCase())
}
