import fc from 'fast-check'
import { expect, it } from 'vitest'
import { HashTag } from './hash-tag.ts'

function part(characters: string, key: string): string {
  const tag = new HashTag(characters)
  // What stands around a key in a buffer must not count.
  const bytes = Buffer.from(`{x}${key}{y}`)
  tag.find(bytes, 3, bytes.length - 3)
  return bytes.toString('utf8', tag.start, tag.end)
}

it.each([
  ['{}', '{user1}.name', 'user1'],
  ['{}', 'a{user1}', 'user1'],
  ['{}', 'foo{}{bar}', 'foo{}{bar}'],
  ['{}', 'foo{{bar}}zap', '{bar'],
  ['{}', 'foo{bar}{zap}', 'bar'],
  ['{}', 'foo}bar{', 'foo}bar{'],
  ['{}', '}{a}', 'a'],
  ['{}', '{open', '{open'],
  ['{}', '', ''],
  ['<>', '<a>{b}', 'a'],
  ['||', 'x|a|b|', 'a'],
  ['||', '||a|', '||a|'],
  ['$\0', '$a\0b', 'a'],
])('with %s of %s it hashes %s', (characters, key, expected) => {
  expect(part(characters, key)).toBe(expected)
})

it('the part is what a search for the two characters finds', () => {
  const text = fc.string({ unit: fc.constantFrom('{', '}', 'a', 'é') })
  fc.assert(
    fc.property(text, (key) => {
      const [, tagged = ''] = /^[^{]*\{([^}]*)\}/s.exec(key) ?? []
      expect(part('{}', key)).toBe(tagged === '' ? key : tagged)
    }),
  )
})

it.each(['', '{', '{}}', 'é}', '«»'])('the tag %j is refused', (characters) => {
  expect(() => new HashTag(characters)).toThrow(/hash tag .* must be two characters of ASCII/)
})
