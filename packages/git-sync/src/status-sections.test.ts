import { expect, it } from 'vitest'
import type { RepositoryStatus } from './repository.ts'
import { statusSections } from './status-sections.ts'

const now = 1_800_000_000_000
const ago = (seconds: number): number => now - seconds * 1000

const status = (own: Partial<RepositoryStatus> = {}): RepositoryStatus => ({
  ...{ name: 'site', repo: 'https://host/site', ref: 'main', link: '/git/site', state: 'current' },
  ...{ hash: 'a'.repeat(40), lastSuccess: ago(5), lastChange: ago(600), failures: 0 },
  ...{ error: undefined, errorKind: undefined, ahead: undefined, isPinned: false },
  ...own,
})

const rowOf = (own?: Partial<RepositoryStatus>) =>
  statusSections({ repositories: [status(own)], now })[0]?.rows[0] ?? []

it('has a row for each repository, with a cell for each column', () => {
  const [section] = statusSections({ repositories: [status(), status({ name: 'other' })], now })
  expect(section?.rows.map(([name]) => name)).toEqual([{ code: 'site' }, { code: 'other' }])
  for (const row of section?.rows ?? []) expect(row).toHaveLength(section?.head?.length ?? 0)
})

it('is what it was, and when', () => {
  expect(rowOf()).toEqual([
    ...[{ code: 'site' }, { code: 'https://host/site' }, { code: 'main' }, { code: '/git/site' }],
    ...[{ state: 'ok', text: 'current', why: '' }, { code: 'a'.repeat(40) }, '5 s ago', '10 min ago', ''],
  ])
})

it.each<readonly [Partial<RepositoryStatus>, object]>([
  [{ isPinned: true }, { state: 'ok', text: 'pinned to a commit' }],
  [{ state: 'starting' }, { state: 'warn', text: 'first sync' }],
  [
    { state: 'failing', failures: 3, error: 'no', errorKind: 'no-ref' },
    { state: 'bad', text: 'failing, 3 in a row: no-ref', why: 'no' },
  ],
])('says of %j how it is', (own, state) => {
  expect(rowOf(own)[4]).toMatchObject(state)
})

it('says what was never, and what is newer at the remote', () => {
  const row = rowOf({
    ...{ hash: undefined, lastSuccess: undefined, lastChange: undefined },
    ahead: { hash: 'b'.repeat(40), since: ago(7200 * 3) },
  })
  expect(row.slice(5)).toEqual(['nothing yet', 'never', 'never', `${'b'.repeat(12)}, 6 h ago`])
})

it('never says that something is to come, whatever the clock does', () => {
  expect(rowOf({ lastSuccess: ago(-60) })[6]).toBe('0 s ago')
})
