import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'

const ofThisProcess = randomUUID()

/** Names this run of the kernel; where it does not tell, this process, as if each had a kernel of its own. */
export async function bootId(): Promise<string> {
  const text = await readFile('/proc/sys/kernel/random/boot_id', 'latin1').catch(() => ofThisProcess)
  return text.trim()
}
