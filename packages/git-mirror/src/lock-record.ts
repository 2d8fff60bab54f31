import { hostname } from 'node:os'
import { bootId } from './boot-id.ts'

/** Who holds a directory. */
export interface LockHolder {
  readonly pid: number
  readonly host: string
  readonly since: Date
}

/** What an owner writes down about itself. */
export interface LockRecord extends LockHolder {
  /**
   * The kernel and the mount: who shares both with an owner gets an answer at its socket for certain. The same volume
   * of a network mounted twice on one machine has sockets of its own at each.
   */
  readonly place: string
  readonly hasSocket: boolean
}

export async function placeOf(device: number): Promise<string> {
  return `${await bootId()} ${device}`
}

export const ownRecord = (place: string, hasSocket: boolean): LockRecord => ({
  pid: process.pid,
  host: hostname(),
  since: new Date(),
  place,
  hasSocket,
})

export const recordText = (record: LockRecord): string => `${JSON.stringify(record)}\n`

/** @returns undefined for what nobody of ours has written */
export function parseRecord(text: string): LockRecord | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const { pid, host, since, place, hasSocket }: Partial<Record<string, unknown>> = { ...value }
  if (typeof pid !== 'number' || !Number.isSafeInteger(pid)) return undefined
  // It comes to stand in messages.
  if (typeof host !== 'string' || !/^[\w.-]{1,255}$/.test(host)) return undefined
  if (typeof since !== 'string' || typeof place !== 'string' || typeof hasSocket !== 'boolean')
    return undefined
  const date = new Date(since)
  return Number.isNaN(date.getTime()) ? undefined : { pid, host, since: date, place, hasSocket }
}
