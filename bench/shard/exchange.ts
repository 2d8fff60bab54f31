import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { encodeCommand } from '@outrider/resp'

const patienceMs = 10_000

/**
 * Sends commands on a connection of their own and gives all replies as they came.
 * @throws Error when nobody listens, or nothing comes for a while
 */
export async function exchange(port: number, ...commands: readonly (readonly string[])[]): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port })
  socket.setTimeout(patienceMs, () => socket.destroy(new Error(`port ${port} says nothing`)))
  // Whoever has answered QUIT or skipped it closes: that is the end of the replies.
  socket.write(Buffer.concat([...commands, ['QUIT']].map(encodeCommand)))
  return text(socket)
}
