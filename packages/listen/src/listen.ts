import { once } from 'node:events'
import { chmod, lstat, unlink } from 'node:fs/promises'
import { connect, type Server } from 'node:net'

/**
 * Port 0 lets the system choose one. With `reusePort` others who say so too may listen at the same port, as the same
 * user, and the system spreads the connections among all of them (SO_REUSEPORT, socket(7)).
 */
export type ListenAddress =
  | { host: string; port: number; reusePort?: boolean }
  /** Without `mode`, the permissions of the socket are what the process leaves to others. */
  | { path: string; mode?: number }

// A thousand clients that come at once, as after a restart, fill Node's 511 before the first is accepted, and whom the
// system turns away then comes again after a second, three and seven. It lowers this to net.core.somaxconn.
const BACKLOG = 4_096

/**
 * Starts to accept and gives the actual address. Rejects with the system's error, such as `EADDRINUSE`. A socket
 * file that a dead process has left is replaced; one on which somebody accepts is not, nor is any other file.
 */
export async function listen(server: Server, address: ListenAddress): Promise<ListenAddress> {
  try {
    await listenOnce(server, address)
  } catch (error) {
    if (!('path' in address) || !(await isStale(error, address.path))) throw error
    await unlink(address.path)
    await listenOnce(server, address)
  }
  if ('path' in address && address.mode !== undefined) await chmod(address.path, address.mode)
  const actual = server.address()
  if (actual === null || typeof actual === 'string') return address
  return { host: actual.address, port: actual.port }
}

async function listenOnce(server: Server, address: ListenAddress): Promise<void> {
  const listening = once(server, 'listening')
  server.listen({ ...address, backlog: BACKLOG })
  await listening
}

async function isStale(error: unknown, path: string): Promise<boolean> {
  const inUse = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'
  if (!inUse || !(await isSocket(path))) return false
  const probe = connect({ path })
  try {
    await once(probe, 'connect')
    return false
  } catch (refused) {
    // Anything else, such as EACCES or the EAGAIN of a full backlog, says that somebody may be there.
    return refused instanceof Error && 'code' in refused && refused.code === 'ECONNREFUSED'
  } finally {
    probe.destroy()
  }
}

async function isSocket(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isSocket()
  } catch {
    // Gone meanwhile, or not to be seen: the error of listening says more.
    return false
  }
}
