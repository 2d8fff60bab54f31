import { describe, expect, it } from 'vitest'
import { defineContainer } from '../container.ts'
import type { JsonSchema } from '../kinds.ts'
import { flag } from '../kinds.ts'
import { aged, sample } from '../test-support.ts'
import { schema } from './schema.ts'

interface Property extends JsonSchema {
  readonly deprecated?: boolean
  readonly examples?: readonly string[]
}

interface Document {
  readonly required: readonly string[]
  readonly allOf?: readonly { readonly anyOf: readonly { readonly required: readonly string[] }[] }[]
  readonly properties: Readonly<Record<string, Property>>
}

const parsed = (container = sample) => JSON.parse(schema(container)) as Document
const { properties, required } = parsed()

/** The part of JSON Schema that the kinds use. */
const accepts = ({ type, enum: choices, pattern }: Property, value: string): boolean =>
  type === 'string' &&
  (choices === undefined || choices.includes(value)) &&
  (pattern === undefined || new RegExp(pattern, 'u').test(value))

it('is the schema that is committed', async () => {
  await expect(schema(sample)).toMatchFileSnapshot('snapshots/schema.json.txt')
})

describe('the schema', () => {
  it.each(Object.entries(properties))('accepts the default and the example of %s', (_, property) => {
    for (const value of [property.default, ...(property.examples ?? [])]) {
      if (value !== undefined) expect(accepts(property, value)).toBe(true)
    }
  })

  it('describes every parameter as text, because an environment holds nothing else', () => {
    expect(Object.keys(properties)).toEqual(sample.params.map(({ variable }) => variable))
    for (const { type, description } of Object.values(properties)) {
      expect(type).toBe('string')
      expect(description).toBeTruthy()
    }
  })

  it('requires what has no default, but no secret, which may come by file', () => {
    expect(required).toEqual(['ADAPTER_SAMPLE_TARGET', 'ADAPTER_SAMPLE_NOTE'])
  })

  it('marks secrets as never to be read', () => {
    expect(Object.entries(properties).filter(([, { writeOnly }]) => writeOnly)).toHaveLength(2)
  })

  it('marks older names as deprecated, and takes one in place of what is required', () => {
    const old = parsed(aged)
    expect(old.properties['OLD_BOX_REPO']).toEqual({
      type: 'string',
      description: 'Older name of AGED_BOX_REPO.',
      deprecated: true,
    })
    expect(old.properties['OLD_BOX_PASSWORD']).toMatchObject({ deprecated: true, writeOnly: true })
    expect(old.required).toEqual([])
    expect(old.allOf).toEqual([{ anyOf: [{ required: ['AGED_BOX_REPO'] }, { required: ['OLD_BOX_REPO'] }] }])
  })

  it('gives the choices', () => {
    expect(properties['ADAPTER_SAMPLE_MODE']?.enum).toEqual(['fast', 'safe'])
  })

  it('accepts a switch whose default is written in another way', () => {
    const container = defineContainer({
      name: 'test-box',
      pattern: 'sidecar',
      summary: 'x',
      contract: [],
      admin: 1,
      params: { on: flag('x', { default: 'on' }) },
      metrics: {},
      start: async () => ({ async [Symbol.asyncDispose]() {} }),
    })
    const property = parsed(container).properties['TEST_BOX_ON']
    expect(property !== undefined && accepts(property, 'on')).toBe(true)
  })

  it.each([
    ['ADAPTER_SAMPLE_WAIT', '5'],
    ['ADAPTER_SAMPLE_LISTEN', '8080'],
    ['ADAPTER_SAMPLE_LIMIT', '64'],
    ['ADAPTER_SAMPLE_MODE', 'slow'],
    ['ADAPTER_SAMPLE_TLS', 'maybe'],
  ])('refuses for %s the value %s', (variable, value) => {
    const property = properties[variable]
    expect(property && accepts(property, value)).toBe(false)
  })
})
