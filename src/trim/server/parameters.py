"""Fields of request bodies that step routing does not use: those it refuses, and those it ignores.

What is refused would change the answer in a way that no router of steps can give; a value that asks for nothing is
accepted. What is ignored is named in the response header `x-trim-ignored`. Requests that are passed through keep both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Neutral = Mapping[str, tuple[Any, ...]]
"""Fields that are refused, each with the values that are accepted because they ask for nothing."""

_WEIGHTS: Neutral = {
    "logit_bias": ({},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "repeat_penalty": (1,),
    "length_penalty": (1,),
    "dry_multiplier": (0,),
}
_CONSTRAINTS: Neutral = {  # vLLM, SGLang, llama-server
    "structured_outputs": (),
    "guided_json": (),
    "guided_regex": (),
    "guided_choice": (),
    "guided_grammar": (),
    "grammar": ("",),
    "json_schema": (),
    "regex": (),
    "ebnf": (),
    "min_tokens": (0,),
    "ignore_eos": (False,),
    "stop_token_ids": ([],),
    "bad_words": ([],),
    "allowed_token_ids": ([],),
    "include_stop_str_in_output": (False,),
    "use_beam_search": (False,),
    "prompt_logprobs": (),
    "n_probs": (0,),
    "n_predict": (-1,),
    "truncate_prompt_tokens": (),
    "return_token_ids": (False,),
    "return_tokens_as_token_ids": (False,),
    "return_hidden_states": (False,),
    "no_stop_trim": (False,),
    "stop_regex": (),
    "lora_path": (),
    "extra_body": ({},),
}

CHAT_REFUSED: Neutral = {
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "modalities": (["text"], []),
    "audio": (),
    "web_search_options": (),
    "moderation": (),
    "plugins": ([],),
    "safe_prompt": (False,),
    "mm_processor_kwargs": ({},),
    "documents": ([],),
    "chat_template": (),
    "add_generation_prompt": (True,),
    "continue_final_message": (False,),
    "echo": (False,),
    "best_of": (1,),
    **_WEIGHTS,
    **_CONSTRAINTS,
}
COMPLETION_REFUSED: Neutral = {
    "echo": (False,),
    "suffix": ("",),
    "best_of": (1,),
    "logprobs": (),
    **_WEIGHTS,
    **_CONSTRAINTS,
}
RESPONSES_REFUSED: Neutral = {
    "previous_response_id": (),
    "conversation": (),
    "background": (False,),
    "prompt": (),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "top_logprobs": (0,),
    "context_management": ([],),
    "moderation": (),
    "n": (1,),
    **_WEIGHTS,
}

OPENAI_HINTS = frozenset(
    {"reasoning_effort", "verbosity", "prediction", "prompt_cache_options", "prompt_cache_retention"}
)
"""Fields of OpenAI's API that say how an answer should be found or worded, not which answer is right."""

OPEN_SERVER_OPTIONS = frozenset(
    {
        *("top_k", "min_p", "top_a", "typical_p", "tfs_z", "epsilon_cutoff", "eta_cutoff", "samplers"),
        *("mirostat", "mirostat_tau", "mirostat_eta", "dynatemp_range", "dynatemp_exponent"),
        *("xtc_probability", "xtc_threshold", "repeat_last_n", "penalize_nl"),
        *("chat_template_kwargs", "enable_thinking", "thinking", "thinking_budget", "think"),
        *("reasoning", "reasoning_format", "reasoning_budget", "include_reasoning", "separate_reasoning"),
        *("stream_reasoning", "vllm_xargs", "min_keep", "dry_base", "dry_allowed_length", "dry_penalty_last_n"),
        *("skip_special_tokens", "spaces_between_special_tokens", "add_special_tokens"),
    }
)
"""Further ways to choose tokens, and switches for reasoning, of servers of open models."""

BOOKKEEPING = frozenset(
    {
        *("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"),
        *("priority", "request_id", "cache_salt", "kv_transfer_params", "rid"),  # vLLM, SGLang
        *("cache_prompt", "id_slot", "slot_id", "timings_per_token", "return_progress", "n_keep"),  # llama-server
        *("options", "num_ctx", "keep_alive"),  # Ollama
        *("provider", "transforms", "models", "route", "usage"),  # OpenRouter
        *("id", "chat_id", "message_id", "session_id"),  # Open WebUI
    }
)
"""About the client, its account, and the memory of a server."""

# `top_k` is ignored only where a model does not take it: `trim.server.request_sampling`.
IGNORED = OPENAI_HINTS | OPEN_SERVER_OPTIONS | BOOKKEEPING


def has_effect(value: Any, neutral: tuple[Any, ...]) -> bool:
    """Whether the value of a field would change the answer. `False` is not 0 here."""
    return value is not None and not any(
        value == other and isinstance(value, bool) is isinstance(other, bool) for other in neutral
    )
