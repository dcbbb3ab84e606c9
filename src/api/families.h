/* families.h - the tables of endpoints, one per family of APIs; hth_api_find goes through them in this order. */
#ifndef HTH_API_FAMILIES_H
#define HTH_API_FAMILIES_H

#include "api/api.h"

typedef struct hth_api_family {
	const hth_api_endpoint *endpoints;
	size_t n;
} hth_api_family;

extern const hth_api_family hth_api_openai_chat, hth_api_openai_completions, hth_api_openai_embeddings, hth_api_openai_models,
    hth_api_tokenize, hth_api_ollama_chat, hth_api_ollama_embed, hth_api_ollama_models, hth_api_ollama_create,
    hth_api_anthropic, hth_api_responses;

#endif
