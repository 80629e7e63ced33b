/**
 * Values that fit a schema of the protocol's tables: with as little in them as may be, and with as much. Made from the schema
 * itself, so that a new method or event has samples as soon as it is in its table.
 */
import type * as v from "valibot";

interface AnySchema {
  readonly type: string;
  readonly entries?: Readonly<Record<string, AnySchema>>;
  readonly item?: AnySchema;
  readonly items?: readonly AnySchema[];
  readonly wrapped?: AnySchema;
  readonly options?: readonly unknown[];
  readonly pipe?: readonly { readonly type: string; readonly requirement?: unknown }[];
}

export function samplesOf(schema: v.GenericSchema): unknown[] {
  return [valueOf(schema, false), valueOf(schema, true)];
}

function valueOf(schema: AnySchema, full: boolean): unknown {
  const bound = (type: string, otherwise: number) =>
    Number(schema.pipe?.find((action) => action.type === type)?.requirement ?? otherwise);
  switch (schema.type) {
    case "object":
    case "strict_object": {
      const fields = Object.entries(schema.entries!).map(([key, field]) => [key, valueOf(field, full)] as const);
      return Object.fromEntries(fields.filter(([, value]) => value !== undefined));
    }
    case "optional":
      return full ? valueOf(schema.wrapped!, full) : undefined;
    case "array": {
      const length = full ? Math.min(3, bound("max_length", 3)) : bound("min_length", 0);
      return Array.from({ length }, () => valueOf(schema.item!, full));
    }
    case "strict_tuple":
      return schema.items!.map((item) => valueOf(item, full));
    case "union":
      return valueOf(schema.options![full ? schema.options!.length - 1 : 0] as AnySchema, full);
    case "picklist":
      return schema.options![full ? schema.options!.length - 1 : 0];
    case "boolean":
      return full;
    case "number":
      return full ? Math.min(bound("max_value", Number.MAX_SAFE_INTEGER), 1_790_000_000_000) : bound("min_value", 0);
    case "string":
      return full ? "alice" : schema.pipe?.some(({ type }) => type === "regex") ? "bob" : "";
    // Bytes: the only custom schema there is.
    case "custom":
      return new Uint8Array(bound("length", full ? Math.min(100, bound("max_length", 100)) : 0)).fill(7);
    default:
      throw new Error(`no sample for a schema of type ${schema.type}: add it here`);
  }
}
