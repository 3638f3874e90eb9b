//! What each program leaves in the document about its own work: a stage, and the failure
//! that the first one of them ended with.

use crate::{Exit, Step};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How a stage ended.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StageStatus {
    /// It did its work.
    Ok,
    /// It did its work and saw something people should know.
    Warned,
    /// It failed. An unknown word reads as this.
    #[default]
    Failed,
    /// It did nothing, on purpose.
    Skipped,
}

impl StageStatus {
    fn named(word: &str) -> Option<StageStatus> {
        [StageStatus::Ok, StageStatus::Warned, StageStatus::Skipped].into_iter().find(|status| status.as_str() == word)
    }

    /// The word in the document.
    pub fn as_str(self) -> &'static str {
        match self {
            StageStatus::Ok => "ok",
            StageStatus::Warned => "warned",
            StageStatus::Failed => "failed",
            StageStatus::Skipped => "skipped",
        }
    }
}

/// What one program did.
#[derive(Clone, Debug, Default, JsonSchema, PartialEq, Serialize)]
pub struct Stage {
    /// The program, such as `cm-build`.
    pub tool: String,
    /// Which step of the deployment it was; null for one that this version does not know.
    pub step: Option<Step>,
    /// The program's version.
    pub version: String,
    /// How it ended.
    pub status: StageStatus,
    /// The exit status of the program; null in a document from before stages said it.
    pub exit: Option<u8>,
    /// Whether it changed anything on a host.
    pub changed: bool,
    /// When it started, RFC 3339 in UTC.
    pub started_at: String,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// One line for people.
    pub summary: String,
}

impl Stage {
    /// The stages of a document, oldest first. What is no stage is left out; one that does not
    /// say its step is from an older version, and its place in the pipe tells.
    pub fn list(values: &[Value]) -> Vec<Stage> {
        let mut steps = Vec::new();
        let mut stages = Vec::new();
        for value in values.iter().filter(|value| value.is_object()) {
            let stage = Stage::read(value, &steps);
            steps.push(stage.step);
            stages.push(stage);
        }
        stages
    }

    fn read(value: &Value, earlier: &[Option<Step>]) -> Stage {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let tool = text("tool");
        let step = match value.get("step") {
            Some(step) => step.as_str().and_then(Step::named),
            None => Step::guessed(&tool, earlier),
        };
        let number = |key: &str| value[key].as_u64().or_else(|| Some(value[key].as_f64()?.round() as u64));
        Stage {
            tool,
            step,
            version: text("version"),
            status: value["status"].as_str().and_then(StageStatus::named).unwrap_or_default(),
            exit: number("exit").and_then(|exit| u8::try_from(exit).ok()),
            changed: value["changed"] == true,
            started_at: text("started_at"),
            duration_ms: number("duration_ms").unwrap_or_default(),
            summary: text("summary"),
        }
    }

    /// Whether it did its work, with or without a warning.
    pub fn did_its_work(&self) -> bool {
        matches!(self.status, StageStatus::Ok | StageStatus::Warned)
    }

    /// Whether there was nothing for it to do, or it was left out.
    pub fn was_skipped(&self) -> bool {
        self.status == StageStatus::Skipped && self.exit.unwrap_or_default() == Exit::Done.code()
    }

    /// Whether it did nothing because an earlier one had failed.
    pub fn was_refused(&self) -> bool {
        self.status == StageStatus::Skipped && self.exit == Some(Exit::Refused.code())
    }
}

/// The failure of the stage that failed first, as the document tells it.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
pub struct RunError {
    /// The program that failed.
    pub stage: String,
    /// The step that failed, where the document says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<Step>,
    /// Stable and dotted, such as `lock.held`; see cm-errors(7).
    #[schemars(regex(pattern = r"^[a-z0-9-]+(\.[a-z0-9-]+)*$"))]
    pub code: String,
    /// What failed, and where.
    pub message: String,
    /// Why, from the outermost cause to the innermost.
    pub causes: Vec<String>,
    /// What the reader can do now.
    pub hint: Option<String>,
    /// Whether the same call can succeed later without any change.
    pub retryable: bool,
    /// The exit status it ended the program with.
    pub exit: u8,
}

impl RunError {
    /// Reads as much of it as is there. What does not say how it ended was a bug.
    pub(crate) fn read(value: &Value) -> RunError {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let causes = value["causes"].as_array().into_iter().flatten();
        let exit = value["exit"].as_u64().and_then(|exit| u8::try_from(exit).ok());
        RunError {
            stage: text("stage"),
            step: value["step"].as_str().and_then(Step::named),
            code: text("code"),
            message: text("message"),
            causes: causes.filter_map(|cause| cause.as_str().map(str::to_owned)).collect(),
            hint: value["hint"].as_str().map(str::to_owned),
            retryable: value["retryable"] == true,
            exit: exit.unwrap_or_else(|| Exit::Bug.code()),
        }
    }

    /// The exit status as one of ours.
    pub fn exit(&self) -> Exit {
        Exit::from_code(u64::from(self.exit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_later_version_writes_is_read_as_far_as_it_is_known() {
        let values = [
            json!({"tool": "cm-build", "step": "teleport", "status": "splendid", "exit": 300, "duration_ms": 1.6, "x": 1}),
            json!("no stage"),
            json!({"tool": "cm-health", "step": "health", "status": "skipped", "exit": 3}),
        ];
        let stages = Stage::list(&values);
        assert_eq!(stages.len(), 2);
        assert_eq!((stages[0].step, stages[0].status, stages[0].exit), (None, StageStatus::Failed, None));
        assert_eq!(stages[0].duration_ms, 2);
        assert!(stages[1].was_refused() && stages[1].step == Some(Step::Health));
    }
}
