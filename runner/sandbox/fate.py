"""What faults make of a task: how it ends, when, and what it costs. Pure."""

from __future__ import annotations

from dataclasses import replace

from runner.sandbox.faults import Rule
from runner.sandbox.life import Task, whole

NEVER_S = 10 * 365 * 86_400.0


def shape_task(task: Task, rule: Rule, *, failed_charge: bool) -> Task:
    """Return the task as a fault rule wants it; `failed_charge`: a failed task keeps what was reserved."""
    given = rule.options
    match rule.do:
        case "task_fails" | "fails_without_error":
            message = (
                None if rule.do == "fails_without_error" else given.get("message", "The generation failed.")
            )
            kept = given.get("charge", failed_charge)
            task = replace(task, error_code=given.get("code", "generation_failed"), error_message=message)
            task = replace(task, final=task.reserved if kept else 0)
            if "seconds" in given:
                task = replace(task, ends_at=task.created_at + given["seconds"])
        case "unknown_status":
            task = replace(task, quirks={**task.quirks, "unknown_status": given.get("status", "paused")})
        case "succeed_without_urls":
            form = {"no_urls": given.get("polls"), "no_urls_form": given.get("form", "null")}
            task = replace(task, quirks={**task.quirks, **form})
        case "odd_end":
            error = {key: str(given[key]) for key in ("code", "message") if key in given}
            odd = {
                "status": str(given.get("status", "canceled")),
                "error": error or None,
                "result": bool(given.get("result")),
            }
            task = replace(task, quirks={**task.quirks, "odd_end": odd})
        case "vanishes":
            task = replace(
                task, quirks={**task.quirks, "gone_at": task.created_at + given.get("seconds", 0.0)}
            )
        case "results_at":
            task = replace(task, quirks={**task.quirks, "results_at": given.get("host", "198.18.0.7")})
        case "stuck":
            task = replace(task, ends_at=task.created_at + NEVER_S)
        case "slow_task":
            task = replace(task, ends_at=task.ends_at + given.get("seconds", 60))
        case "price":
            price = whole(given.get("credits", task.reserved * given.get("factor", 4)))
            task = replace(task, reserved=price, final=0 if task.fails and not task.final else price)
        case "final_price":
            task = replace(task, final=whole(given.get("credits", task.reserved * given.get("factor", 2))))
        case "told_reserved":
            told = whole(given.get("credits", 1))
            task = replace(task, quirks={**task.quirks, "told_reserved": told})
        case "final_null" | "final_absent" | "final_zero":
            task = replace(task, quirks={**task.quirks, "final": rule.do.removeprefix("final_")})
    return task
