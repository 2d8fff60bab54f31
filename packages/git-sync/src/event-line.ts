import type { MirrorEvent } from '@outrider/git-mirror'

/** What is said of an event of a mirror: a message that never varies, and what varies. */
export interface EventLine {
  readonly level: 'debug' | 'warn'
  readonly msg: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** How many paths a line names at most. */
const shown = 20

export function eventLine(event: MirrorEvent): EventLine {
  const line = (level: EventLine['level'], msg: string, fields: EventLine['fields']) => ({
    level,
    msg,
    fields,
  })
  switch (event.type) {
    case 'moved':
      return line('debug', 'the remote has another commit', { ref: event.ref, hash: event.hash })
    case 'fetched':
      return line('debug', 'fetched', { hash: event.hash, ms: Math.round(event.ms) })
    case 'recovered':
      return line('warn', 'leftovers are cleared away', {
        removed: event.removed.slice(0, shown),
        processes: event.processes,
      })
    case 'rebuilt':
      return line('warn', 'the repository is made anew, and the published tree stays meanwhile', {
        why: event.why,
      })
    case 'damaged':
      return line('warn', 'the published tree was changed by somebody else, and is replaced', {
        hash: event.tree.hash,
      })
    case 'not-removed':
      return line('warn', 'an old tree is still held, and is removed later', {
        paths: event.paths.slice(0, shown),
      })
    case 'housekeeping-failed':
      return line('warn', 'tidying up failed, and is tried again', { error: event.error })
  }
}
