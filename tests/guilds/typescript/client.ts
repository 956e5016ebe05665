/* What a single-page app does with the API, written against the types that were generated from docs/openapi.yaml. */
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Guild = components["schemas"]["Guild"];

const api = createClient<paths>({
  baseUrl: "https://servers.example.org",
  headers: { Authorization: "Bearer gdh_…" },
});

type Shown = Pick<Guild, "id" | "name" | "icon">;

export async function manageable(): Promise<Shown[]> {
  const { data, error, response } = await api.GET("/api/v1/guilds/", {
    params: { query: { manageable: true, ordering: "-name", fields: ["name", "icon"] } },
  });
  if (error) {
    switch (error.type) {
      case "/problems/invalid-token":
        throw new Error("Make a new token.");
      case "/problems/rate-limited":
      case "/problems/discord-unavailable":
        throw new Error(`Try again in ${error.retry_after} seconds: ${error.reason}`);
      // @ts-expect-error there is no such problem
      case "/problems/no-such-problem":
      default:
        throw new Error(error.detail);
    }
  }
  const age = Number(response.headers.get("Age"));
  if (data.freshness === "stale") console.warn(`${age} s old: ${data.reason satisfies string | null}`);
  return data.guilds as Shown[];
}

export async function one(guild_id: string): Promise<bigint | undefined> {
  const { data } = await api.GET("/api/v1/guilds/{guild_id}/", { params: { path: { guild_id } } });
  // @ts-expect-error an id is a string
  await api.GET("/api/v1/guilds/{guild_id}/", { params: { path: { guild_id: 80351110224678912 } } });
  return data && BigInt(data.guild.permissions);
}

export async function refresh(): Promise<"new" | "in_progress" | number> {
  const { data, error } = await api.POST("/api/v1/guilds/refresh/");
  if (error) return error.retry_after ?? 0;
  return "status" in data ? data.status : "new";
}

// @ts-expect-error there is no such parameter
void api.GET("/api/v1/guilds/", { params: { query: { managable: true } } });
