import { expect, it } from 'vitest'
import { sample } from '../test-support.ts'
import { compose, env, pod, printKinds, renderPrint, schema } from './index.ts'

const given = [{ name: 'mode', shown: 'fast', source: 'flag' }]

it.each([
  ['pod', pod(sample, given)],
  ['compose', compose(sample, given)],
  ['env', env(sample, given)],
  ['schema', schema(sample)],
] as const)('--print %s is that snippet, with what was given', (kind, text) => {
  expect(renderPrint(kind, sample, given)).toBe(text)
})

it.each(printKinds)('%s ends with one line break', (kind) => {
  expect(renderPrint(kind, sample)).toMatch(/[^\n]\n$/)
})
