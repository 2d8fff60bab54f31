import { once } from 'node:events'
import { chmod, lstat } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { errnoOf } from './file-error.ts'
import type { OpenDirectory } from './open-directory.ts'

/**
 * Listens at a socket in a directory, to show that this process lives; whoever comes is sent away at once. It keeps no
 * process running. Closing it removes it.
 * @returns undefined where the volume has no sockets, or none that can be reached
 */
export async function listenIn(directory: OpenDirectory, name: string): Promise<Server | undefined> {
  const path = directory.at(name).toString()
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.destroy()
  })
  let isReached = false
  try {
    const listening = once(server, 'listening')
    // Who is not let in for a full backlog knows as much.
    server.listen({ path, exclusive: true, backlog: 16 })
    await listening
    // Others may run as another user.
    await chmod(path, 0o666).catch(() => undefined)
    isReached = (await answersAt(directory, name)) === 'yes'
    if (isReached) return server.unref()
    await lstat(path)
    return undefined
  } catch (error) {
    const code = errnoOf(error)
    if (code === undefined || isOfDirectory.includes(code)) throw error
    return undefined
  } finally {
    if (!isReached) server.close()
  }
}

/** Errors that say nothing about sockets: another has removed the directory, or the volume is full or read-only. */
const isOfDirectory = ['ENOENT', 'ENOSPC', 'EDQUOT', 'EROFS', 'EIO', 'ESTALE']

/** Whether a process listens at a socket: `no` is certain on the same kernel and mount alone. */
export async function answersAt(directory: OpenDirectory, name: string): Promise<'yes' | 'no' | 'unknown'> {
  const probe = connect({ path: directory.at(name).toString() })
  try {
    await once(probe, 'connect')
    return 'yes'
  } catch (error) {
    const code = errnoOf(error) ?? ''
    // EAGAIN is a full backlog.
    return code === 'EAGAIN' ? 'yes' : ['ECONNREFUSED', 'ENOENT'].includes(code) ? 'no' : 'unknown'
  } finally {
    probe.on('error', () => undefined)
    probe.destroy()
  }
}
