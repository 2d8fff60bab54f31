import { exchange } from './http-exchange.ts'
import { isOneLine } from './one-line.ts'

/** For all of it: it is asked before each sync. */
const limitMs = 1000

/**
 * Asks a service for a user and a password: status 200, with the lines `username=...` and `password=...` among others.
 * No proxy is asked: the service most often is a neighbour in the pod.
 * @throws Error that names the service by its origin alone, and nothing of what it has said
 */
export async function askpass(url: URL): Promise<{ readonly username: string; readonly password: string }> {
  const fail = (what: string): never => {
    throw new Error(`the askpass service at ${url.origin} ${what}`)
  }
  const { status, body } = await exchange({ url, method: 'GET', limitMs }).catch((error: Error) =>
    fail(error.message),
  )
  if (status !== 200) fail(`answered with status ${status}: it must be 200, and no redirect is followed`)
  const fields = new Map(body.split(/\r?\n/).map(fieldOf))
  const [username, password] = [fields.get('username'), fields.get('password')]
  if (!username || !password) {
    const missing = username ? 'password' : 'username'
    return fail(`gave no ${missing}: it must answer with the lines username=... and password=...`)
  }
  if (!isOneLine(username + password)) fail('gave a username or password that holds a carriage return or NUL')
  return { username, password }
}

function fieldOf(line: string): readonly [string, string] {
  const [key = ''] = line.split('=', 1)
  return [key, line.slice(key.length + 1)]
}
