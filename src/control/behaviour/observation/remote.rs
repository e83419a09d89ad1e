//! What a host does on another, as calls, files and shares tell it.

use crate::dataplane::decode::Endpoint;

/// What a host does on another, by SMB and DCE/RPC.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Who does it.
    pub client: Endpoint,
    /// Where.
    pub server: Endpoint,
    /// What it is.
    pub step: Step,
    /// Name of the call, the share or the file.
    pub what: String,
}

/// What a call, a file or a share stands for (BZAR, `indicators`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Connected to an administrative share.
    Share,
    /// Was turned down there.
    RefusedShare,
    /// Wrote a file to one.
    Write,
    /// Wrote a program to one.
    WriteProgram,
    /// Started a program, service or task.
    Execution,
    /// Asked for an object of DCOM, which may be one that starts programs.
    Activation,
    /// A call with the number of one that starts programs, of an interface that nobody saw named.
    PerhapsExecution,
    /// Lists shares or sessions, or asks about accounts.
    Discovery,
    /// Lists accounts or who is in a group.
    Accounts,
    /// Takes secrets out of a registry or a store of them.
    Secrets,
    /// Empties a log.
    LogCleared,
    /// Is a program of a library that is made for attacks.
    Toolkit,
    /// Asked a directory service for secrets.
    Replication,
    /// Asked a directory service for something else.
    Directory,
}

impl Step {
    /// Of a call by its name; `None`: it stands for nothing.
    pub fn of_call(name: &str) -> Option<Step> {
        Some(match name {
            // MS-SCMR, MS-TSCH, MS-WMI, objects called over DCOM (MS-OAUT), drivers of printers (MS-RPRN: CVE-2021-1675).
            "CreateServiceW"
            | "CreateServiceA"
            | "CreateServiceWOW64A"
            | "CreateServiceWOW64W"
            | "StartServiceW"
            | "StartServiceA"
            | "NetrJobAdd"
            | "SchRpcRegisterTask"
            | "SchRpcRun"
            | "ExecMethod"
            | "ExecMethodAsync"
            | "RpcAddPrinterDriverEx"
            | "RpcAsyncAddPrinterDriver"
            | "Invoke" => Step::Execution,
            "RemoteCreateInstance" | "RemoteActivation" => Step::Activation,
            "SamrEnumerateUsersInDomain"
            | "SamrEnumerateGroupsInDomain"
            | "SamrEnumerateAliasesInDomain"
            | "SamrGetMembersInGroup"
            | "SamrGetMembersInAlias"
            | "SamrQueryDisplayInformation"
            | "SamrQueryDisplayInformation2"
            | "SamrQueryDisplayInformation3"
            | "LsarEnumerateAccounts" => Step::Accounts,
            "LsarEnumerateTrustedDomains"
            | "SamrQueryInformationUser2"
            | "SamrGetAliasMembership"
            | "SamrGetGroupsForUser"
            | "DsrEnumerateDomainTrusts"
            | "NetrShareEnum"
            | "NetrSessionEnum"
            | "NetrConnectionEnum"
            | "NetrFileEnum"
            | "NetrServerDiskEnum"
            | "NetrWkstaUserEnum"
            | "EnumServicesStatusW"
            | "EnumServicesStatusExW" => Step::Discovery,
            // MS-RRP, MS-BKRP, MS-LSAD: hives, and keys of others.
            "BaseRegSaveKey" | "BaseRegSaveKeyEx" | "LsarQuerySecret" | "LsarRetrievePrivateData" => Step::Secrets,
            // MS-EVEN, MS-EVEN6.
            "ElfrClearELFW" | "ElfrClearELFA" | "EvtRpcClearLog" => Step::LogCleared,
            "DRSGetNCChanges" | "DRSReplicaSync" => Step::Replication,
            _ if name.starts_with("DRS") => Step::Directory,
            _ => return None,
        })
    }
}
