import { expect, it } from 'vitest'
import { COMMANDS } from './command.ts'
import { commandTableMarkdown } from './command-markdown.ts'

const rows = commandTableMarkdown()
  .trimEnd()
  .split('\n')
  .map((line) => line.slice(2, -2).split(' | '))

it('every command that can be sent has one row, in order', () => {
  const sendable = COMMANDS.filter(({ subcommands, name }) => subcommands === undefined || name === 'command')
  const titles = rows.slice(2).map(([title]) => title)
  expect(titles).toEqual(sendable.map(({ title }) => title).sort())
})

it('every row has as many cells as the head', () => {
  for (const row of rows) expect(row).toHaveLength(5)
})

it.each([
  ['GET', '1.0.0', '1', 'route', ''],
  [
    'MSET',
    '1.0.1',
    '1, 3, 5 ...',
    'split: ok',
    'atomic on each shard, not over all: another client may see a part',
  ],
  ['SUNION', '1.0.0', '1, 2 ...', 'route', 'all keys on one shard'],
  ['ZUNIONSTORE', '2.0.0', '1, as many as 2 says, behind it', 'route', 'all keys on one shard'],
  [
    'BLMOVE',
    '6.2.0',
    '1, 2',
    'pinned: keys',
    'all keys on one shard; waits on a connection of its own, so that other clients do not wait behind it',
  ],
  ['SORT_RO', '7.0.0', '1', 'route', 'a pattern with * in BY or GET is refused unless there is one shard'],
  ['SHUTDOWN', '1.0.0', '', 'refuse', 'it would end a shard that others use; send it to the shard itself'],
])('%s is described', (...cells) => {
  expect(rows).toContainEqual(cells)
})
