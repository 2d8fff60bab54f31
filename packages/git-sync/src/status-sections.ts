import type { RepositoryStatus } from './repository.ts'

type State = { readonly state: 'ok' | 'warn' | 'bad'; readonly text: string; readonly why: string }
type Cell = string | number | { readonly code: string } | State

/** A table for people. */
interface Section {
  readonly title: string
  readonly note?: string
  readonly head?: readonly string[]
  readonly rows: readonly (readonly Cell[])[]
}

/** What the page of the status shows. */
export function statusSections({
  repositories,
  now,
}: {
  readonly repositories: readonly RepositoryStatus[]
  readonly now: number
}): Section[] {
  return [
    {
      title: 'Repositories',
      head: [
        'Name',
        'Repository',
        'Ref',
        'Link',
        'State',
        'Published commit',
        'Last success',
        'Last change',
        'Newer at the remote',
      ],
      rows: repositories.map((status) => [
        { code: status.name },
        { code: status.repo },
        { code: status.ref },
        { code: status.link },
        stateOf(status),
        status.hash === undefined ? 'nothing yet' : { code: status.hash },
        agoText(status.lastSuccess, now),
        agoText(status.lastChange, now),
        status.ahead === undefined
          ? ''
          : `${status.ahead.hash.slice(0, 12)}, ${agoText(status.ahead.since, now)}`,
      ]),
    },
  ]
}

function stateOf({ state, failures, error = '', errorKind = 'other', isPinned }: RepositoryStatus): State {
  if (state === 'current') return { state: 'ok', text: isPinned ? 'pinned to a commit' : 'current', why: '' }
  if (state === 'starting') return { state: 'warn', text: 'first sync', why: '' }
  return { state: 'bad', text: `failing, ${failures} in a row: ${errorKind}`, why: error }
}

function agoText(time: number | undefined, now: number): string {
  if (time === undefined) return 'never'
  const seconds = Math.max(0, Math.round((now - time) / 1000))
  if (seconds < 120) return `${seconds} s ago`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min ago`
  return `${Math.round(seconds / 3600)} h ago`
}
