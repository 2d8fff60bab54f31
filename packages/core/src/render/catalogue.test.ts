import { expect, it } from 'vitest'
import { sample } from '../test-support.ts'
import { catalogue } from './catalogue.ts'

it('has a row for each container, with its page, pattern, purpose and ports', () => {
  expect(catalogue([sample])).toBe(`| Container | Pattern | What it does | Ports |
|---|---|---|---|
| [adapter-sample](packages/adapter-sample/README.md) | adapter | Turns what the application says into what "others" expect; it's $5 well spent. | lines 8443, admin 9199 |`)
})

it('without containers is a table without rows', () => {
  expect(catalogue([]).split('\n')).toHaveLength(2)
})
