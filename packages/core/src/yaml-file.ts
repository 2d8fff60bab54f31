import { type Document, isAlias, isNode, LineCounter, parseDocument, visit, type YAMLError } from 'yaml'

/** A file of YAML as values, and where each of them stands. */
export interface YamlFile {
  readonly value: unknown
  /** `line 3, column 5` of what stands at a path of keys and indexes, or of the nearest that is there. */
  where(path: readonly (string | number)[]): string
}

const MOST_BYTES = 4 * 1024 * 1024

/**
 * Reads YAML 1.2 with one document, in which all scalars are text (the failsafe schema): whoever needs a number says so, and
 * the password 007 stays what it is.
 * @throws Error that begins with line and column
 */
export function parseYaml(text: string): YamlFile {
  if (text.length > MOST_BYTES) throw new Error(`the file is larger than ${MOST_BYTES / 2 ** 20} MiB`)
  const lineCounter = new LineCounter()
  const document = parseDocument(text, { schema: 'failsafe', lineCounter, prettyErrors: false })
  const whereAt = (offset: number): string => {
    const { line, col } = lineCounter.linePos(offset)
    return `line ${line}, column ${col}`
  }
  const [error] = [...document.errors, ...document.warnings]
  if (error !== undefined) throw new Error(`${whereAt(error.pos[0])}: ${messageOf(error)}`)
  const stray = strayAlias(document)
  if (stray !== undefined) throw new Error(`${whereAt(stray)}: ${QUOTE_ALIAS}`)
  return {
    // Throws where aliases would make much of little.
    value: document.toJS({ maxAliasCount: 100 }),
    where(path) {
      for (let length = path.length; length > 0; length -= 1) {
        const node = document.getIn(path.slice(0, length), true)
        if (isNode(node) && node.range) return whereAt(node.range[0])
      }
      return whereAt(document.contents?.range?.[0] ?? 0)
    },
  }
}

const QUOTE_ALIAS = 'what begins with * is an alias, and there is no such anchor: put it into quotes'

/** What is said in place of messages that quote the file, as it may hold passwords. */
const UNQUOTED: Readonly<Record<string, string>> = {
  TAG_RESOLVE_FAILED: 'what begins with ! is a tag, and there is no such tag: put it into quotes',
  BAD_DIRECTIVE: 'what begins with % is a directive, and there is no such directive',
  BAD_DQ_ESCAPE: 'there is no such escape sequence',
}

/** The others quote behind a colon, if they do. */
const messageOf = ({ code, message }: YAMLError): string =>
  UNQUOTED[code] ?? message.replace(/(?<=\w): .*$/s, '')

/** Where an alias stands that means nothing. */
function strayAlias(document: Document.Parsed): number | undefined {
  const anchors = new Set<string>()
  let at: number | undefined
  visit(document, {
    Node(_, node) {
      if (isAlias(node)) {
        if (anchors.has(node.source)) return undefined
        at = node.range?.[0] ?? 0
        return visit.BREAK
      }
      if ('anchor' in node && node.anchor !== undefined) anchors.add(node.anchor)
      return undefined
    },
  })
  return at
}
