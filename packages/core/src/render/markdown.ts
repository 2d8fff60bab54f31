/** A `|` would end a cell and a line break the row. */
export const cell = (text: string): string => text.replaceAll('|', '\\|').replace(/[\r\n]/g, ' ')

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n')
}

/** A code span may hold backquotes when its own are longer (CommonMark 6.1). */
export function code(text: string): string {
  const longest = Math.max(0, ...[...text.matchAll(/`+/g)].map(([run]) => run.length))
  const quotes = '`'.repeat(longest + 1)
  return longest > 0 ? `${quotes} ${text} ${quotes}` : quotes + text + quotes
}
